// On a narrow screen the list of contents begins folded, and folds again behind the link that was followed.
const contents = document.querySelector("nav details");
const narrow = matchMedia("(max-width: 74.99rem)");
const fit = () => (contents.open = !narrow.matches);
narrow.addEventListener("change", fit);
contents.addEventListener("click", (event) => {
  if (narrow.matches && event.target.closest("a")) contents.open = false;
});
fit();

// A link to something that is folded unfolds it.
function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const folds = [];
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS" && !at.open) folds.push(at);
  folds.forEach((fold) => (fold.open = true));
  if (folds.length) target.scrollIntoView();
}
addEventListener("hashchange", unfold);
unfold();

// Paper has everything.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((fold) => (fold.open = true));
});
addEventListener("afterprint", () => folded.forEach((fold) => (fold.open = false)));
