// A page that reloads itself stays where it was, with the same parts unfolded.
history.scrollRestoration = "manual";
const folds = [...document.querySelectorAll("main details, header details")];
const kept = JSON.parse(sessionStorage.getItem("kept") ?? "null");
if (kept) {
  folds.forEach((fold, place) => (fold.open = kept.open.includes(place)));
  document.documentElement.style.scrollBehavior = "auto";
  scrollTo(0, kept.top);
}
addEventListener("pagehide", () => {
  const open = folds.flatMap((fold, place) => (fold.open ? [place] : []));
  sessionStorage.setItem("kept", JSON.stringify({ top: scrollY, open }));
});
