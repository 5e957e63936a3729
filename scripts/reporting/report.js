// Each box filters the rows of the table below it: those stay that hold all of its words.
for (const part of document.querySelectorAll(".searchable")) {
  const box = part.querySelector("input");
  const rows = Array.from(part.querySelectorAll("tbody tr"));
  const texts = rows.map((row) => row.textContent.normalize("NFC").toLowerCase());
  const count = part.querySelector("output");
  const filter = () => {
    const words = box.value.normalize("NFC").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, at) => {
      row.hidden = !words.every((word) => texts[at].includes(word));
      shown += row.hidden ? 0 : 1;
    });
    count.textContent = `${shown} of ${rows.length} rows`;
  };
  box.addEventListener("input", filter);
  filter();
}
