(() => {
  const tip = document.getElementById("elman-tip") || document.body.appendChild(document.createElement("div"));
  tip.id = "elman-tip";
  const show = (text, event) => {
    tip.textContent = text;
    tip.style.display = "block";
    const right = Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 4);
    const below = event.clientY + 18 + tip.offsetHeight < innerHeight;
    tip.style.left = Math.max(0, right) + "px";
    tip.style.top = event.clientY + (below ? 18 : -10 - tip.offsetHeight) + "px";
  };
  const paint = (pre) => {
    const bytes = Uint8Array.from(atob(pre.dataset.values), (c) => c.charCodeAt(0));
    const values = new Int8Array(bytes.buffer), heat = pre.classList.contains("heat");
    const notes = pre.dataset.notes ? JSON.parse(pre.dataset.notes) : null;
    const part = document.createDocumentFragment();
    Array.from(pre.textContent).forEach((char, i) => {
      const value = values[i] / 100, span = document.createElement("span");
      const colour = heat ? "240,140,20" : value > 0 ? "226,60,50" : "50,110,230";
      span.textContent = char;
      span.style.background = `rgba(${colour},${(0.8 * Math.abs(value)).toFixed(2)})`;
      span.note = notes ? notes[i] : value.toFixed(2);
      part.appendChild(span);
    });
    pre.replaceChildren(part);
    pre.onmousemove = (event) => event.target.note && show(event.target.note, event);
    pre.onmouseleave = () => (tip.style.display = "none");
    pre.painted = true;
  };
  // what is far down the page, or folded, is painted when it comes into sight
  const sight = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (entry.isIntersecting && !entry.target.painted) paint(entry.target);
  }), { rootMargin: "400px" });
  document.querySelectorAll("pre.paint").forEach((pre) => sight.observe(pre));
})();
