// Keys: "/" goes to the search, the arrows to the row before and after. Matches in folded parts
// are unfolded.
(() => {
  const isTyping = (target) => target.closest("input, select, textarea") !== null;

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || isTyping(event.target)) return;
    const link = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
    if (link) document.querySelector(`a[rel="${link}"]`)?.click();
    const search = document.querySelector("#q");
    if (event.key === "/" && search) {
      event.preventDefault();
      search.focus();
    }
  });

  // On a phone the filters would fill the screen; what is set stands above the rows as well.
  const filters = document.querySelector(".filters[data-set]");
  if (filters && innerWidth > 900) filters.open = true;

  // Text written to be harmful stays folded unless what was searched for is nowhere else.
  const marks = [...document.querySelectorAll(".story mark")];
  const isElsewhere = marks.some((mark) => mark.closest(".harm") === null);
  for (const mark of marks) {
    const folded = mark.closest("details");
    if (folded === null) continue;
    if (!folded.classList.contains("harm") || !isElsewhere) folded.open = true;
  }
  if (!location.hash) document.querySelector(".story mark")?.scrollIntoView({ block: "center" });
})();
