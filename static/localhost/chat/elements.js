// Elements of the page, made and found. Texts get into them through textContent alone.

export const byId = (id) => document.getElementById(id);

/** An element with a class, a text, and children. */
export function element(tag, className = '', text = '', ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

/** A button that says what it does. */
export function button(text, action, className = '') {
  const made = element('button', className, text);
  made.type = 'button';
  made.addEventListener('click', action);
  return made;
}
