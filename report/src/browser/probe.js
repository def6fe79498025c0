// Evaluated within the page: what a reader would stumble over, as sentences.
(() => {
  const LEAST_CONTRAST = 4.5;
  const LEAST_LETTERS = 10;
  const findings = [];
  const width = document.documentElement.clientWidth;
  const say = (sentence) => { if (findings.length < 40) findings.push(sentence); };
  const shown = (element) => element.getClientRects().length > 0;
  const called = (element) => {
    const card = element.closest("section");
    return `${card ? "#" + card.id : element.tagName.toLowerCase()} "${element.textContent.trim().slice(0, 40)}"`;
  };

  // Colours, over one another.
  const parse = (text) => {
    const parts = (text.match(/[\d.]+/g) || []).map(Number);
    return text.startsWith("rgb") && parts.length >= 3 ? [...parts.slice(0, 3), parts[3] ?? 1] : null;
  };
  const over = (top, below) => {
    const mix = (n) => top[n] * top[3] + below[n] * (1 - top[3]);
    return [mix(0), mix(1), mix(2), 1];
  };
  const light = (colour) => {
    const part = (n) => { const c = colour[n] / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * part(0) + 0.7152 * part(1) + 0.0722 * part(2);
  };
  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.filter(Boolean).reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const judge = (element, colour, below, letters) => {
    const is = contrast(over(colour, below), below);
    if (is < LEAST_CONTRAST) say(`contrast ${is.toFixed(2)} of ${called(element)}`);
    if (letters < LEAST_LETTERS) say(`letters of ${letters.toFixed(1)} pixels in ${called(element)}`);
  };

  // Tables that are folded away are looked at, too.
  const folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((details) => { details.open = true; });

  if (document.documentElement.scrollWidth > width) {
    say(`it is ${document.documentElement.scrollWidth} pixels wide, the window ${width}`);
  }
  const cards = [...document.querySelectorAll("section.card")];
  if (cards.length === 0) say("it has no plot");
  for (const card of cards) {
    const pictures = [...card.querySelectorAll(".plot svg")].filter(shown);
    if (pictures.length === 0 && !card.querySelector(".missing")) say(`#${card.id} has no picture`);
    for (const picture of pictures) {
      const frame = picture.getBoundingClientRect();
      if (frame.width < 100 || frame.height < 60) say(`#${card.id}: a picture of ${frame.width} × ${frame.height}`);
      if (frame.left < 0 || frame.right > width) say(`#${card.id}: a picture leaves the window`);
      if (!picture.getAttribute("aria-label")) say(`#${card.id}: a picture without words for it`);
      const texts = [...picture.querySelectorAll("text")].filter((text) => text.textContent.trim());
      if (texts.length === 0) say(`#${card.id}: a picture without text`);
      const boxes = texts.map((text) => text.getBoundingClientRect());
      const scale = picture.getScreenCTM().a;
      texts.forEach((text, n) => {
        const box = boxes[n];
        const out = box.left < frame.left - 1 || box.right > frame.right + 1
          || box.top < frame.top - 2 || box.bottom > frame.bottom + 2;
        if (out) say(`a text leaves its picture: ${called(text)}`);
        for (let m = n + 1; m < texts.length; m++) {
          const across = Math.min(box.right, boxes[m].right) - Math.max(box.left, boxes[m].left);
          const down = Math.min(box.bottom, boxes[m].bottom) - Math.max(box.top, boxes[m].top);
          if (across > -2 && down > 4) say(`texts touch: ${called(text)} and ${called(texts[m])}`);
        }
        // What was drawn before the text and lies behind its middle.
        const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
        let below = behind(picture);
        for (const shape of picture.querySelectorAll("rect, polygon, circle, text")) {
          if (shape === text) break;
          if (shape.tagName === "text") continue;
          const at = shape.getBoundingClientRect();
          const fill = parse(getComputedStyle(shape).fill);
          if (fill && at.left <= x && x <= at.right && at.top <= y && y <= at.bottom) {
            below = over([fill[0], fill[1], fill[2], fill[3] * Number(getComputedStyle(shape).opacity)], below);
          }
        }
        const style = getComputedStyle(text);
        judge(text, parse(style.fill), below, parseFloat(style.fontSize) * scale);
      });
    }
  }
  // Every other element that has text of its own.
  for (const element of document.body.querySelectorAll("*:not(svg *)")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !shown(element)) continue;
    const style = getComputedStyle(element);
    judge(element, parse(style.color), behind(element), parseFloat(style.fontSize));
    const box = element.getBoundingClientRect();
    if (!element.closest(".scroll") && (box.left < 0 || box.right > width + 1)) say(`${called(element)} leaves the window`);
  }
  folded.forEach((details) => { details.open = false; });
  return { findings, height: document.documentElement.scrollHeight };
})()
