// Strict JSON, and canonical JSON (docs/spec/statement.md, "Strict JSON";
// docs/spec/trusted-root.md, "Canonical JSON").

export class Num { constructor(text) { this.text = text } }

const fail = why => { throw new Error(why) }
const escapes = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }

// parse reads bytes and gives strings, booleans, null, Num, arrays and objects
// without a prototype. It refuses what two readers could read differently.
export function parse(bytes) {
  const s = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  let at = 0
  const space = () => { while (at < s.length && ' \t\r\n'.includes(s[at])) at++ }
  const take = c => { if (s[at] !== c) fail(`expected ${c}`); at++ }

  function string() {
    take('"')
    let out = ''
    for (;;) {
      const c = s[at++]
      if (c === undefined || c < ' ') fail('bad string')
      if (c === '"') break
      if (c !== '\\') { out += c; continue }
      const e = s[at++]
      if (e === 'u') {
        const hex = s.slice(at, at + 4)
        if (!/^[0-9a-fA-F]{4}$/.test(hex)) fail('bad escape')
        out += String.fromCharCode(parseInt(hex, 16))
        at += 4
      } else out += escapes[e] ?? fail('bad escape')
    }
    if (/\p{Surrogate}/u.test(out)) fail('half of a surrogate pair')
    return out
  }

  function value(depth) {
    if (depth > 24) fail('nested too deep')
    space()
    const c = s[at]
    if (c === '"') return string()
    if (c === '{') {
      const out = Object.create(null)
      at++; space()
      if (s[at] === '}') { at++; return out }
      for (;;) {
        space()
        const name = string()
        if (name in out) fail('member twice')
        space(); take(':')
        out[name] = value(depth + 1)
        space()
        if (s[at] === '}') { at++; return out }
        take(',')
      }
    }
    if (c === '[') {
      const out = []
      at++; space()
      if (s[at] === ']') { at++; return out }
      for (;;) {
        out.push(value(depth + 1))
        space()
        if (s[at] === ']') { at++; return out }
        take(',')
      }
    }
    for (const [word, v] of [['true', true], ['false', false], ['null', null]]) {
      if (s.startsWith(word, at)) { at += word.length; return v }
    }
    const number = /-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y
    number.lastIndex = at
    const m = number.exec(s) ?? fail('not JSON')
    at += m[0].length
    return new Num(m[0])
  }

  const out = value(0)
  space()
  if (at !== s.length) fail('text after the value')
  return out
}

// base64 reads the one padded standard encoding.
export function base64(s) {
  const b = Buffer.from(s, 'base64')
  if (b.toString('base64') !== s) fail('bad base64')
  return b
}

const fold = name => name.replace(/[A-Z]/g, c => c.toLowerCase()).replaceAll('\u017f', 's').replaceAll('\u212a', 'k')

// Shapes: a name below, an object of shapes (a table of members), [shape] for a
// list, map(shape) for free member names. read checks a value and gives absent
// members their empty value.
export const map = of => ({ [mapOf]: of })
const mapOf = Symbol('map')
const empty = { string: '', integer: 0, boolean: false, bytes: Buffer.alloc(0), any: undefined, absent: undefined }

export function read(v, shape) {
  if (shape === 'any') return v
  if (shape === 'string' && typeof v === 'string') return v
  if (shape === 'boolean' && typeof v === 'boolean') return v
  if (shape === 'bytes' && typeof v === 'string') return base64(v)
  if (shape === 'integer' && v instanceof Num) {
    const n = Number(v.text)
    return Number.isSafeInteger(n) && String(n) === v.text ? n : fail('not a safe integer')
  }
  if (Array.isArray(shape) && Array.isArray(v)) return v.map(e => read(e, shape[0]))
  if (typeof shape !== 'object' || Array.isArray(shape) || v === null || typeof v !== 'object' || Array.isArray(v) || v instanceof Num) fail('wrong type')
  const out = Object.create(null)
  if (mapOf in shape) {
    for (const name in v) out[name] = read(v[name], shape[mapOf])
    return out
  }
  for (const name in v) {
    const known = Object.keys(shape).find(k => fold(k) === fold(name))
    if (known !== undefined && known !== name) fail(`${name} must be written ${known}`)
  }
  for (const name in shape) out[name] = name in v ? read(v[name], optional(shape[name])) : absent(shape[name])
  return out
}

// maybe marks an object that may be absent as a whole.
const maybeOf = Symbol('maybe')
export const maybe = shape => ({ [maybeOf]: shape })
const optional = shape => typeof shape === 'object' && maybeOf in shape ? shape[maybeOf] : shape
const absent = shape => {
  if (typeof shape === 'string') return empty[shape]
  if (Array.isArray(shape)) return []
  if (maybeOf in shape) return undefined
  return mapOf in shape ? Object.create(null) : read(Object.create(null), shape)
}

// canonical encodes a parsed value in canonical JSON.
export function canonical(v) {
  if (typeof v === 'string') return `"${v.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
  if (v === null || typeof v === 'boolean') return String(v)
  if (v instanceof Num) return /^-?[0-9]+$/.test(v.text) && BigInt.asIntN(64, BigInt(v.text)) === BigInt(v.text) ? v.text : fail('not an integer')
  if (Array.isArray(v)) return `[${v.map(canonical).join(',')}]`
  const names = Object.keys(v).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  return `{${names.map(n => `${canonical(n)}:${canonical(v[n])}`).join(',')}}`
}
