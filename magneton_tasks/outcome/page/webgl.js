// Surfaces on a canvas: seen from far away, so that nothing is larger because it is nearer.

const VERTEX = `#version 300 es
uniform mat3 rotation;
uniform vec3 middle;
uniform vec2 scale;
uniform float depth;
in vec3 position;
in vec3 normal;
out vec3 facing;
void main() {
  vec3 seen = rotation * (position - middle);
  facing = rotation * normal;
  gl_Position = vec4(seen.x * scale.x, -seen.y * scale.y, seen.z * depth, 1.0);
}`;
// Light falls from whoever looks, on both sides of a surface: see shapes/still.py.
const FRAGMENT = `#version 300 es
precision highp float;
uniform vec3 colour;
in vec3 facing;
out vec4 drawn;
void main() {
  float share = length(facing) > 0.0 ? abs(normalize(facing).z) : 1.0;
  drawn = vec4(colour * (0.3 + 0.7 * share), 1.0);
}`;
const [POSITION, NORMAL] = [0, 1];

function compiled(gl, kind, source) {
  const shader = gl.createShader(kind);
  gl.shaderSource(shader, source);
  gl.compileShader(shader);
  return shader;
}
function linked(gl) {
  const program = gl.createProgram();
  gl.attachShader(program, compiled(gl, gl.VERTEX_SHADER, VERTEX));
  gl.attachShader(program, compiled(gl, gl.FRAGMENT_SHADER, FRAGMENT));
  gl.bindAttribLocation(program, POSITION, "position");
  gl.bindAttribLocation(program, NORMAL, "normal");
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error("its WebGL compiles no shader");
  return program;
}
// Of each vertex, the mean of its triangles' by their areas: bytes x, y, z and one to fill up.
function normalsOf({ positions, corners }) {
  const n = positions.length / 4,
    sums = new Float32Array(3 * n),
    normals = new Int8Array(4 * n);
  for (let f = 0; f < corners.length; f += 3) {
    const [a, b, c] = [corners[f], corners[f + 1], corners[f + 2]];
    const edge = (to, axis) => positions[4 * to + axis] - positions[4 * a + axis];
    const [ux, uy, uz] = [edge(b, 0), edge(b, 1), edge(b, 2)];
    const [vx, vy, vz] = [edge(c, 0), edge(c, 1), edge(c, 2)];
    const [x, y, z] = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    for (const k of [a, b, c]) {
      sums[3 * k] += x;
      sums[3 * k + 1] += y;
      sums[3 * k + 2] += z;
    }
  }
  for (let k = 0; k < n; k++) {
    const [x, y, z] = [sums[3 * k], sums[3 * k + 1], sums[3 * k + 2]],
      length = Math.hypot(x, y, z) || 1;
    normals.set([(x / length) * 127, (y / length) * 127, (z / length) * 127], 4 * k);
  }
  return normals;
}

export class Stage {
  // `shapes`: {positions, corners, colour} each; raises an Error where there's no WebGL.
  constructor(canvas, shapes) {
    const gl = canvas.getContext("webgl2", { antialias: true });
    if (!gl) throw new Error("it has no WebGL");
    this.gl = gl;
    this.shapes = shapes;
    this.open();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => this.open());
  }
  open() {
    const gl = this.gl;
    this.program = linked(gl);
    const place = (name) => gl.getUniformLocation(this.program, name);
    const names = ["rotation", "middle", "scale", "depth", "colour"];
    this.places = Object.fromEntries(names.map((name) => [name, place(name)]));
    this.drawn = this.shapes.map((shape) => this.uploaded(shape));
    gl.enable(gl.DEPTH_TEST);
  }
  uploaded(shape) {
    const gl = this.gl,
      held = gl.createVertexArray();
    gl.bindVertexArray(held);
    const fill = (target, values) => {
      gl.bindBuffer(target, gl.createBuffer());
      gl.bufferData(target, values, gl.STATIC_DRAW);
    };
    fill(gl.ARRAY_BUFFER, shape.positions);
    gl.enableVertexAttribArray(POSITION);
    gl.vertexAttribPointer(POSITION, 3, gl.UNSIGNED_SHORT, false, 8, 0);
    fill(gl.ARRAY_BUFFER, normalsOf(shape));
    gl.enableVertexAttribArray(NORMAL);
    gl.vertexAttribPointer(NORMAL, 3, gl.BYTE, true, 4, 0);
    fill(gl.ELEMENT_ARRAY_BUFFER, shape.corners);
    return held;
  }
  // How much of the screen all shapes take: their middle, and their extent along its axes.
  extent(rotation) {
    const low = [Infinity, Infinity, Infinity],
      high = [-Infinity, -Infinity, -Infinity];
    for (const { positions } of this.shapes) {
      for (let k = 0; k < positions.length; k += 4) {
        for (let axis = 0; axis < 3; axis++) {
          const [x, y, z] = rotation[axis];
          const value = x * positions[k] + y * positions[k + 1] + z * positions[k + 2];
          low[axis] = Math.min(low[axis], value);
          high[axis] = Math.max(high[axis], value);
        }
      }
    }
    const centre = low.map((value, axis) => (value + high[axis]) / 2);
    const middle = [0, 1, 2].map((k) => rotation.reduce((sum, row, axis) => sum + row[k] * centre[axis], 0));
    return { middle, size: low.map((value, axis) => Math.max(high[axis] - value, 1)) };
  }
  // `scale`: pixels of the page a unit of the positions; `hidden`: numbers of shapes that aren't drawn.
  draw(rotation, middle, scale, hidden) {
    const gl = this.gl,
      canvas = gl.canvas,
      dense = window.devicePixelRatio || 1;
    if (gl.isContextLost()) return;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.max(Math.round(width * dense), 1);
    canvas.height = Math.max(Math.round(height * dense), 1);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT); // the page's colour shows through
    gl.useProgram(this.program);
    gl.uniformMatrix3fv(this.places.rotation, true, rotation.flat());
    gl.uniform3fv(this.places.middle, middle);
    gl.uniform2f(this.places.scale, (2 * scale) / width, (2 * scale) / height);
    gl.uniform1f(this.places.depth, 1 / 2048); // the lattice's diagonal is shorter
    this.shapes.forEach((shape, k) => {
      if (hidden.has(k)) return;
      gl.uniform3fv(this.places.colour, shape.colour);
      gl.bindVertexArray(this.drawn[k]);
      gl.drawElements(gl.TRIANGLES, shape.corners.length, gl.UNSIGNED_INT, 0);
    });
  }
}
