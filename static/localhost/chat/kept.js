// What this browser remembers from visit to visit, or for one window. It may keep nothing at all: then all is as new.

const PREFIX = 'mles-tx-';

function kept(place) {
  return {
    /** What was kept under a name; null: nothing. */
    get(name) {
      try {
        return JSON.parse(window[place].getItem(PREFIX + name));
      } catch {
        return null;
      }
    },
    /** Keep a value; null forgets it. */
    set(name, value) {
      try {
        if (value === null) window[place].removeItem(PREFIX + name);
        else window[place].setItem(PREFIX + name, JSON.stringify(value));
      } catch {
        // this browser keeps nothing for this page
      }
    },
  };
}

export const forGood = kept('localStorage');
export const forThisWindow = kept('sessionStorage');
