// What a person would notice on the report page, looked for by the browser itself. The test puts this at
// the end of the page; it goes through every screen in both themes and writes what is wrong, a line each,
// into an element that the test reads.
'use strict';
(function () {
  const problems = new Set(), seen = [];
  const tell = (where, what) => problems.add(where + ': ' + what);

  // WCAG 2.2: relative luminance and contrast of two colours.
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  function rgb(text) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  }
  function luminance(color) {
    const [r, g, b] = [...color].slice(0, 3).map((c) => c / 255).map((c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  }
  function contrast(a, b) {
    const [x, y] = [luminance(a), luminance(b)].sort((m, n) => n - m);
    return (x + .05) / (y + .05);
  }
  function background(element) {
    for (let each = element; each; each = each.parentElement) {
      const color = rgb(getComputedStyle(each).backgroundColor);
      if (color[3] === 255) return color;
    }
    return rgb('white');
  }
  const visible = (element) => element.getClientRects().length > 0 && !element.closest('.unseen, .skip, [hidden]');

  function texts(where) {
    const walk = document.createTreeWalker(document.querySelector('.page'), NodeFilter.SHOW_TEXT);
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
      const element = node.parentElement;
      if (!node.data.trim() || !visible(element) || element.closest('script') || element.closest(':disabled')) continue;
      const style = getComputedStyle(element);
      const ratio = contrast(rgb(element.namespaceURI.endsWith('svg') ? style.fill : style.color), background(element));
      if (ratio < 4.5) tell(where, 'contrast ' + ratio.toFixed(2) + ' of "' + node.data.trim().slice(0, 40) + '"');
      if (parseFloat(style.fontSize) < 12) tell(where, 'small text: ' + node.data.trim().slice(0, 40));
    }
    for (const drawing of ['.g-ok', '.g-bad']) {
      const shape = document.querySelector('section:not([hidden]) svg ' + drawing);
      if (shape && contrast(rgb(getComputedStyle(shape).fill), background(shape.closest('section'))) < 3) tell(where, 'contrast of ' + drawing);
    }
  }
  function names(where) {
    for (const element of document.querySelectorAll('button, a[href], input, [role=img], nav, table, th')) {
      if (!visible(element)) continue;
      const caption = element.tagName === 'TABLE' && element.caption;
      const name = element.getAttribute('aria-label') || (caption ? caption.textContent : element.textContent);
      if (!name.trim()) tell(where, 'no name: ' + element.outerHTML.slice(0, 80));
    }
    const headings = [...document.querySelectorAll('h1, h2, h3')].filter(visible);
    if (!headings.length || headings[0].tagName === 'H3') tell(where, 'no heading');
    const shown = [...document.querySelectorAll('section')].filter(visible);
    if (shown.length !== 1) tell(where, shown.length + ' screens are shown');
    if (document.querySelectorAll('nav [aria-current]').length !== 1) tell(where, 'the current screen is not marked');
  }

  const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
  if (new Set(ids).size !== ids.length) tell('page', 'an id occurs twice');
  for (const attribute of ['src', 'srcset', 'action', 'data', 'poster']) {
    if (document.querySelector('[' + attribute + ']')) tell('page', 'loads something by ' + attribute);
  }
  for (const link of document.querySelectorAll('[href]')) if (!link.getAttribute('href').startsWith('#')) tell('page', 'link to ' + link.href);
  if (document.querySelectorAll('script').length !== 4) tell('page', 'scripts: ' + document.querySelectorAll('script').length);

  for (const theme of ['light', 'dark']) {
    document.documentElement.dataset.theme = theme;
    for (const link of document.querySelectorAll('nav a')) {
      location.hash = link.getAttribute('href');
      show();
      const where = link.getAttribute('href').slice(1) + ', ' + theme + ', ' + innerWidth;
      if (document.documentElement.scrollWidth > innerWidth) tell(where, 'wider than the window: ' + document.documentElement.scrollWidth);
      // With one lane open, as somebody has it who looks at its runs.
      const lane = document.querySelector('section:not([hidden]) .lane > button');
      if (lane && lane.getAttribute('aria-expanded') === 'false') lane.click();
      if (lane && lane.getAttribute('aria-expanded') !== 'true') tell(where, 'a lane does not open');
      if (document.documentElement.scrollWidth > innerWidth) tell(where, 'an open lane is wider than the window');
      texts(where);
      names(where);
      seen.push(where);
    }
  }
  document.querySelectorAll('nav a')[1].focus();
  if (document.activeElement !== document.querySelectorAll('nav a')[1]) tell('page', 'the keyboard does not reach the screens');
  // Zoom by hour.
  location.hash = '#timeline';
  show();
  const before = document.querySelector('#timeline-screen .axis').textContent;
  [...document.querySelectorAll('#timeline-screen .tools button')].find((button) => button.textContent === '1 h').click();
  if (document.querySelector('#timeline-screen .axis').textContent === before) tell('timeline', 'zoom changes nothing');
  const search = document.querySelector('#timeline-screen input');
  search.value = 'no job has this name';
  search.dispatchEvent(new Event('input'));
  if (document.querySelector('#timeline-screen .lane')) tell('timeline', 'search finds what is not there');
  const result = document.createElement('pre');
  result.id = 'checked';
  result.textContent = 'seen ' + seen.length + '\n' + [...problems, ...window.problemsOfPage].join('\n');
  document.body.replaceChildren(result);
})();
