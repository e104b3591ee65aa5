// Names and numbers as people read them; knows no page.

/** Return a name with control characters and changes of direction as escapes, so that it reads as it is. */
export function readable(name) {
  const hidden = /[\p{Cc}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
  return String(name).replace(hidden, (c) => "\\u" + c.codePointAt(0).toString(16).padStart(4, "0"));
}

export function percent(probability) {
  if (probability > 0 && probability < 0.001) return "< 0.1 %";
  if (probability < 1 && probability > 0.999) return "> 99.9 %";
  return (100 * probability).toFixed(1) + " %";
}

export function megabytes(bytes) {
  return bytes >= 1e6 ? `${Number((bytes / 1e6).toPrecision(3))} MB` : `${Math.ceil(bytes / 1e3)} kB`;
}

export function number(value) {
  return value === null ? "no finite number" : String(Number(value.toPrecision(6)));
}
