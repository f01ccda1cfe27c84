// The picture as it is read, with a crop and a line over its scale bar that are drawn by dragging, or typed.

import { byId, drawn } from "./dom.js";

const canvas = byId("canvas");
let size = { width: 1, height: 1 };
let changed = () => {};

export function onChange(listener) {
  changed = listener;
}

export function showPicture(record) {
  size = { width: record.width, height: record.height };
  const [across, down] = record.pixel_nm ?? [1, 1];
  canvas.setAttribute("viewBox", `0 0 ${size.width} ${(size.height * down) / across}`);
  const image = drawn("image", { href: record.picture, width: size.width, height: size.height, preserveAspectRatio: "none" });
  const scene = drawn("g", { transform: `scale(1 ${down / across})` }, image, drawn("g", { id: "marks" }));
  canvas.replaceChildren(scene);
  drawMarks();
}

export function cropOf() {
  const found = /^\s*(\d{1,6})\s*,\s*(\d{1,6})\s*,\s*(\d{1,6})\s*,\s*(\d{1,6})\s*$/.exec(byId("crop").value);
  return found && found.slice(1).map(Number);
}

let line = null; // [x0, y0, x1, y1]: pixels

export function forgetLine() {
  line = null;
  byId("line").value = "";
}

export function drawMarks() {
  const marks = byId("marks");
  if (!marks) return;
  marks.replaceChildren();
  const thick = Math.max(size.width, size.height) / 200;
  const box = cropOf();
  if (box) {
    const [x, y, width, height] = box;
    const outside = `M0 0H${size.width}V${size.height}H0ZM${x} ${y}v${height}h${width}v${-height}Z`;
    marks.append(
      drawn("path", { d: outside, fill: "#000", "fill-opacity": 0.55, "fill-rule": "evenodd" }),
      drawn("rect", { x, y, width, height, fill: "none", stroke: "#ffb84d", "stroke-width": thick }),
    );
  }
  if (line) {
    const [x1, y1, x2, y2] = line;
    const caps = { "stroke-linecap": "round", x1, y1, x2, y2 };
    marks.append(
      drawn("line", { ...caps, stroke: "#000", "stroke-width": 2 * thick }),
      drawn("line", { ...caps, stroke: "#ff6b4d", "stroke-width": thick }),
    );
  }
}

function place(event) {
  const marks = byId("marks");
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(marks.getScreenCTM().inverse());
  return [Math.min(Math.max(at.x, 0), size.width), Math.min(Math.max(at.y, 0), size.height)];
}

let start = null;

canvas.addEventListener("pointerdown", (event) => {
  if (!byId("marks") || event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  start = place(event);
  event.preventDefault();
});

canvas.addEventListener("pointermove", (event) => {
  if (!start) return;
  const [[x0, y0], [x1, y1]] = [start, place(event)];
  if (document.querySelector("input[name=mode]:checked").value === "crop") {
    const corner = [Math.floor(Math.min(x0, x1)), Math.floor(Math.min(y0, y1))];
    byId("crop").value = [...corner, Math.ceil(Math.max(x0, x1)) - corner[0], Math.ceil(Math.max(y0, y1)) - corner[1]].join(",");
  } else {
    const level = Math.abs(y1 - y0) < Math.abs(x1 - x0) / 8; // scale bars are level
    line = [x0, y0, x1, level ? y0 : y1];
    byId("line").value = Math.hypot(line[2] - x0, line[3] - y0).toFixed(1);
  }
  drawMarks();
});

canvas.addEventListener("pointerup", () => {
  const dragged = start;
  start = null;
  if (dragged) changed();
});
canvas.addEventListener("pointercancel", () => (start = null));

byId("crop").addEventListener("change", () => changed());
byId("line").addEventListener("input", () => (line = null));
for (const id of ["crop", "line"]) byId(id).addEventListener("input", drawMarks);
