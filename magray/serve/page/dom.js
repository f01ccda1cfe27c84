// Make elements. Text is always set as text, so that no name, sentence or number is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return made;
}

export function show(made, text) {
  made.textContent = text ?? "";
  made.hidden = !text;
}

export function options(select, values, first) {
  const all = values.map((value) => element("option", { value }, value));
  select.replaceChildren(...(first === undefined ? [] : [element("option", { value: "" }, first)]), ...all);
}

// A number with so many significant digits, without an exponent where people write none.
export function digits(value, count) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-4)) return value.toExponential(count - 1);
  return size >= 10 ** count ? value.toFixed(0) : String(Number(value.toPrecision(count)));
}
