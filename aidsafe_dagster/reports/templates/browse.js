(() => {
  const cases = [...document.querySelectorAll(".case")];
  const bar = document.querySelector(".browse");
  if (!bar) return;
  const kind = bar.querySelector("select");
  const search = bar.querySelector("input");
  const status = bar.querySelector("output");

  const visibleCases = () => cases.filter((element) => !element.hidden);

  const filter = () => {
    const query = search.value.trim().toLowerCase();
    for (const element of cases) {
      const { kind: promptKind, ended } = element.dataset;
      const hasKind = !kind.value || promptKind === kind.value || ended === kind.value;
      const hasText = query === "" || element.textContent.toLowerCase().includes(query);
      element.hidden = !hasKind || !hasText;
    }
    status.textContent = `${visibleCases().length} of ${cases.length}`;
  };

  const step = (offset) => {
    const visible = visibleCases();
    if (!visible.length) return;
    const current = visible.findIndex((element) => element.open);
    const first = offset > 0 ? 0 : visible.length - 1;
    const index = current < 0 ? first : (current + offset + visible.length) % visible.length;
    for (const element of cases) element.open = element === visible[index];
    visible[index].scrollIntoView({ block: "start" });
  };

  kind.addEventListener("change", filter);
  search.addEventListener("input", filter);
  bar.querySelector("[data-step='-1']").addEventListener("click", () => step(-1));
  bar.querySelector("[data-step='1']").addEventListener("click", () => step(1));
  bar.hidden = false;
  filter();
})();
