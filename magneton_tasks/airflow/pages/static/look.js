// The line above Neuroglancer.

import { at } from "./format.js";
import { followTheme, leaveFrame } from "./theme.js";

followTheme(() => {});
at("alone")?.addEventListener("click", leaveFrame);
