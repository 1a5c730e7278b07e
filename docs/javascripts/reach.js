// What Material leaves out for readers who use the keyboard or a screen reader.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");

  // What scrolls can be reached by the keyboard, as long as it scrolls.
  const mark = () => {
    const boxes = ".md-typeset__scrollwrap, .md-typeset pre > code, .md-typeset p:has(math)";
    for (const box of document.querySelectorAll(boxes)) {
      if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  mark();
  addEventListener("resize", mark);
  document.addEventListener("toggle", mark, true); // of what opens by a click
  // Material's own script puts the boxes around the tables, sooner or later.
  new MutationObserver(mark).observe(document.querySelector(".md-content"), { childList: true, subtree: true });
});
