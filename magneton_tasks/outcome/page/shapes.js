// The largest objects in 3D: unpacked, drawn by WebGL, turned by hands and keys. Nothing moves by itself.
import { at, el } from "./format.js";
import { Stage } from "./webgl.js";

// Degrees of a key, of a pixel of dragging; by how much a key zooms; as shapes/still.py begins.
const KEY_DEG = 10,
  PIXEL_DEG = 0.4,
  ZOOM = 1.15,
  FIRST = [22, -30],
  FILLED = 0.96;

// As shapes/packed.py has packed them: {steps, shapes: [{id, voxels, colour, positions, corners}]}.
async function unpack(text) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = new DataView(await new Response(stream).arrayBuffer()),
    length = data.getUint32(0, true);
  const found = JSON.parse(new TextDecoder().decode(new Uint8Array(data.buffer, 4, length)));
  let offset = 4 + length;
  for (const shape of found.shapes) {
    shape.positions = new Uint16Array(4 * shape.vertices); // x, y, z and one to fill up
    for (let axis = 0; axis < 3; axis++) {
      for (let k = 0, value = 0; k < shape.vertices; k++, offset += 2) {
        value = (value + data.getUint16(offset, true)) & 0xffff;
        shape.positions[4 * k + axis] = value;
      }
    }
    const n = 3 * shape.faces;
    shape.corners = new Uint32Array(n);
    for (let k = 0, value = 0; k < n; k++) {
      let folded = 0;
      for (let plane = 3; plane >= 0; plane--) folded = folded * 256 + data.getUint8(offset + plane * n + k);
      value += folded % 2 ? -(folded + 1) / 2 : folded / 2;
      shape.corners[k] = value;
    }
    offset += 4 * n;
  }
  return found;
}

// ------------------------------------------------------------------ turning
const multiply = (a, b) =>
  a.map((row) => b[0].map((_, k) => row.reduce((sum, value, i) => sum + value * b[i][k], 0)));
// By degrees about the screen's axes: x to the right, y downwards, z away from whoever looks.
function turn(about_x, about_y) {
  const [a, b] = [about_x, about_y].map((degrees) => (degrees * Math.PI) / 180);
  const tilted = [
    [1, 0, 0],
    [0, Math.cos(a), -Math.sin(a)],
    [0, Math.sin(a), Math.cos(a)],
  ];
  const turned = [
    [Math.cos(b), 0, Math.sin(b)],
    [0, 1, 0],
    [-Math.sin(b), 0, Math.cos(b)],
  ];
  return multiply(tilted, turned);
}

class View {
  constructor(canvas, found) {
    this.canvas = canvas;
    this.found = found;
    this.stage = new Stage(canvas, found.shapes);
    this.hidden = new Set();
    this.asked = false;
    this.reset();
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    new ResizeObserver(() => this.draw()).observe(canvas);
  }
  reset() {
    this.rotation = turn(...FIRST);
    this.zoom = 1;
    this.draw();
  }
  rotate(about_x, about_y) {
    this.rotation = multiply(turn(about_x, about_y), this.rotation);
    this.draw();
  }
  scale(by) {
    this.zoom = Math.min(Math.max(this.zoom * by, 0.2), 50);
    this.draw();
  }
  key(event) {
    const found = {
      ArrowLeft: () => this.rotate(0, KEY_DEG),
      ArrowRight: () => this.rotate(0, -KEY_DEG),
      ArrowUp: () => this.rotate(-KEY_DEG, 0),
      ArrowDown: () => this.rotate(KEY_DEG, 0),
      "+": () => this.scale(ZOOM),
      "=": () => this.scale(ZOOM),
      "-": () => this.scale(1 / ZOOM),
      0: () => this.reset(),
      Home: () => this.reset(),
    }[event.key];
    if (!found || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    found();
  }
  drag(event) {
    if (event.buttons & 1) this.rotate(event.movementY * PIXEL_DEG, -event.movementX * PIXEL_DEG);
  }
  // Who scrolls through the page doesn't zoom: first the drawing is clicked.
  wheel(event) {
    if (document.activeElement !== this.canvas) return;
    event.preventDefault();
    this.scale(ZOOM ** (-event.deltaY / 100));
  }
  show(index, visible) {
    if (visible) this.hidden.delete(index);
    else this.hidden.add(index);
    this.draw();
  }
  // Once a frame at most.
  draw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.first ??= this.stage.extent(turn(...FIRST));
      const { clientWidth: width, clientHeight: height } = this.canvas;
      const { middle, size } = this.first;
      const fitting = FILLED * Math.min(width / size[0], height / size[1]);
      this.stage.draw(this.rotation, middle, fitting * this.zoom, this.hidden);
    });
  }
}

// ------------------------------------------------------------------ the section
// The list says which object has which colour; with a drawing, it shows and hides them.
function fillLegend(view) {
  [...at("shapes-legend").children].forEach((item, k) => {
    const button = el("button", { type: "button", "aria-pressed": "true" }, ...item.childNodes);
    button.addEventListener("click", () => {
      const visible = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(visible));
      view.show(k, visible);
    });
    item.replaceChildren(button);
  });
}
// Where nothing can be drawn, the picture stays.
async function show() {
  const canvas = at("shapes-canvas");
  try {
    const found = await unpack(at("page-shapes").textContent);
    canvas.hidden = false;
    fillLegend(new View(canvas, found));
    at("shapes").classList.add("drawn");
    at("shapes-how").hidden = false;
  } catch (error) {
    canvas.hidden = true;
    at("shapes-missing").hidden = false;
    at("shapes-missing").textContent =
      `This browser can't turn the objects: ${error.message}. This is a picture of them.`;
  }
}
show();
