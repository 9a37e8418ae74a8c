// Ids of runs and chats as their API has them: a prefix, the time of the first record and the first 80 bits of the UUID.

const PREFIXES = {runs: "run_", chat: "sess_"};
const LETTERS = "abcdefghijklmnopqrstuvwxyz234567";
const DIGITS = 20; // hexadecimal ones of those 80 bits

export function publicId(session) {
  const bits = BigInt(`0x${session.id.replaceAll("-", "").slice(0, DIGITS)}`);
  const tail = Array.from({length: 16}, (_, index) => LETTERS[Number((bits >> BigInt(75 - 5 * index)) & 31n)]).join("");
  return `${PREFIXES[session.face]}${new Date(session.created).toISOString().slice(0, 19).replace(/[-:]/g, "").toLowerCase()}z_${tail}`;
}

// What the UUID begins with, without its hyphens; "" for any other id.
export function uuidStart(id) {
  const found = /^(?:run|sess)_[0-9]{8}t[0-9]{6}z_([a-z2-7]{16})$/.exec(id);
  return found
    ? [...found[1]]
        .reduce((bits, letter) => (bits << 5n) | BigInt(LETTERS.indexOf(letter)), 0n)
        .toString(16)
        .padStart(DIGITS, "0")
    : "";
}
