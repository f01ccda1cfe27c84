// Show the constants of the film that the mouse or the focus is on; arrow keys go to the next thumbnail.
"use strict";
const buttons = [...document.querySelectorAll("#plane button")], film = document.getElementById("film");
const place = (button) => [Number(button.dataset.column), Number(button.dataset.row)];
const STEPS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

function show(button) {
  for (const one of buttons) {
    one.classList.toggle("shown", one === button);
    one.tabIndex = one === button ? 0 : -1; // the plane is one stop of the tabulator
  }
  const facts = button.nextElementSibling.cloneNode(true), picture = button.firstElementChild.cloneNode();
  facts.hidden = false;
  picture.alt = button.getAttribute("aria-label");
  film.replaceChildren(picture, facts);
}

// The nearest thumbnail in a direction; what lies aside counts twice.
function next(button, [right, up]) {
  const [column, row] = place(button);
  const cost = (one) => {
    const x = place(one)[0] - column, y = place(one)[1] - row;
    const ahead = x * right + y * up, aside = Math.abs(x * up) + Math.abs(y * right);
    return ahead > 0 ? ahead + 2 * aside : Infinity;
  };
  const best = buttons.reduce((a, b) => (cost(b) < cost(a) ? b : a));
  return cost(best) < Infinity ? best : button;
}

for (const button of buttons) {
  for (const event of ["mouseenter", "focus", "click"]) button.addEventListener(event, () => show(button));
  button.addEventListener("keydown", (event) => {
    if (!(event.key in STEPS)) return;
    event.preventDefault();
    next(button, STEPS[event.key]).focus();
  });
}
show(buttons[0]);
