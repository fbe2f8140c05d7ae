// Applied before the page is drawn, so that it does not flash; the choice is this browser's and no secret.
(() => {
  const choice = localStorage.getItem("brokerpool-theme");
  if (choice === "light" || choice === "dark") document.documentElement.dataset.theme = choice;
})();
