// Follows the web interface's own switch between light and dark, and lets links leave the frame.

function frame() {
  // the document that shows this page; null where there's none of the same origin
  try {
    return window.parent !== window ? window.parent.document : null;
  } catch {
    return null;
  }
}

export function followTheme(changed) {
  const outer = frame();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  if (!outer) return;
  const read = () => {
    const root = outer.documentElement,
      dark = root.classList.contains("dark"),
      light = root.classList.contains("light");
    if (dark || light) document.documentElement.dataset.theme = dark ? "dark" : "light";
    changed();
  };
  read();
  new MutationObserver(read).observe(outer.documentElement, { attributes: true, attributeFilter: ["class"] });
}

// A frame may not send its parent elsewhere; a link in the parent's own document may.
export function leaveFrame(event) {
  const outer = frame();
  if (!outer || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const link = outer.createElement("a");
  link.href = event.currentTarget.href;
  outer.body.append(link);
  link.click();
  link.remove();
}
