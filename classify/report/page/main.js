showConfusion();
showClasses();
showMistakes();
showLabelIssues();
showDuplicates();
showMap();
showReliability();
showBaselines();
showTuning();
showLearningCurve();
showSearch();
showFailures();

// A click outside the larger view of a photo closes it.
const dialog = document.querySelector("dialog.photo");
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

// On paper nothing is missing: folded parts are unfolded before printing.
window.addEventListener("beforeprint", () => {
  document.querySelectorAll(".more").forEach((button) => button.click());
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
});

// The section being read is marked in the list.
const links = new Map([...document.querySelectorAll(".chapters a")].map((link) => [link.hash.slice(1), link]));
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((one) => one.isIntersecting)) {
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(entry.target.id).setAttribute("aria-current", "true");
  }
}, { rootMargin: "-20% 0px -70% 0px" });
document.querySelectorAll("section[id]").forEach((section) => seen.observe(section));
