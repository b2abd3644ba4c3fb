showConfusion();
showClasses();
showMistakes();
showSuspects();
showDuplicates();
showMap();
showReliability();
showCompared();
showTuning();
showCurve();
showSearch();
showFailures();

// A click beside the larger look at a photo closes it.
const dialog = document.querySelector("dialog.photo");
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

// On paper everything is there: what is folded up is unfolded first.
window.addEventListener("beforeprint", () => {
  document.querySelectorAll(".more").forEach((button) => button.click());
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
});

// The chapter that is being read is marked in the list.
const links = new Map([...document.querySelectorAll(".chapters a")].map((link) => [link.hash.slice(1), link]));
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((one) => one.isIntersecting)) {
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(entry.target.id).setAttribute("aria-current", "true");
  }
}, { rootMargin: "-20% 0px -70% 0px" });
document.querySelectorAll("section[id]").forEach((section) => seen.observe(section));
