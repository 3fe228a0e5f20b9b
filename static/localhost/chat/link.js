// Links to a channel: `#CHANNEL`, or `#CHANNEL&secret=SECRET`. What stands behind # never leaves the browser.

const SECRET = '&secret=';

const decoded = (text) => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a % that stands for itself
  }
};

/** The fragment for a channel and a secret ('' for none), with its #. One for each room: it serves as its name. */
export function fragmentOf({ channel, secret = '' }) {
  return `#${encodeURIComponent(channel)}${secret && SECRET + encodeURIComponent(secret)}`;
}

/** The channel and the secret of a fragment; '' for what it does not name. */
export function readFragment(fragment) {
  const [channel, ...secret] = fragment.replace(/^#/, '').split(SECRET);
  return { channel: decoded(channel).trim(), secret: decoded(secret.join(SECRET)) };
}

/** The whole link, with which others come to the same place. */
export function linkTo(room) {
  return new URL(fragmentOf(room), location.href).href;
}
