// What Material leaves out for readers who use the keyboard or a screen reader.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");

  // What scrolls can be reached by the keyboard, as long as it scrolls.
  const reachable = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const scrolls = target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
      if (scrolls) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  // Material's own script puts the boxes around the tables, after this.
  setTimeout(() => {
    const boxes = ".md-typeset__scrollwrap, .md-typeset pre > code, .md-typeset p:has(math)";
    for (const box of document.querySelectorAll(boxes)) reachable.observe(box);
  });
});
