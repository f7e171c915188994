// The log: policy, checkpoint, proof (docs/spec/verify.md, steps 4 and 5).

import { base64 } from './json.mjs'
import { ed25519, sha256 } from './statement.mjs'

const need = (ok, why) => { if (!ok) throw new Error(why) }

export class Refusal extends Error { constructor(code, why) { super(why); this.code = code } }
export const refuse = (code, why) => { throw new Refusal(code, why) }
// as gives every error that is not a refusal yet a code.
export const as = (code, f) => { try { return f() } catch (e) { throw e instanceof Refusal ? e : new Refusal(code, e.message) } }

function vkey(s, type) {
  const [, name, hash, key64] = /^([^+]+)\+([0-9a-fA-F]{8})\+(.+)$/.exec(s) ?? []
  need(name !== undefined && !/\p{White_Space}/u.test(name), 'vkey')
  const key = base64(key64)
  const sum = sha256(`${name}\n`, key).subarray(0, 4)
  need(key.length === 33 && key[0] === type && parseInt(hash, 16) === sum.readUInt32BE(), 'vkey')
  return { name, hash: sum, key: key.subarray(1) }
}

export function parsePolicy(text) {
  need(Buffer.byteLength(text) <= 65536 && !/[\x00-\x08\x0b-\x1f\x7f]/.test(text), 'policy')
  const parts = new Map(), members = new Set(), keys = new Set()
  let log, quorum
  const witnesses = []
  const url = u => need(u === undefined || /^https?:\/\/([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(\/[A-Za-z0-9._~!$&'()*+,;=:@/-]*)?$/.test(u), 'URL')
  const define = (name, test) => {
    need(!['witness', 'group', 'any', 'all', 'none', 'quorum', 'log'].includes(name) && !parts.has(name) && parts.size < 64, 'name')
    parts.set(name, test)
  }
  for (const line of text.split('\n')) {
    const f = line.split(/[ \t]+/).filter(x => x !== '')
    if (f.length === 0 || f[0].startsWith('#')) continue
    if (f[0] === 'log') {
      need(!log && (f.length === 2 || f.length === 3), 'log line')
      log = vkey(f[1], 1)
      url(f[2])
    } else if (f[0] === 'witness') {
      need(f.length === 3 || f.length === 4, 'witness line')
      const w = { ...vkey(f[2], 4), policyName: f[1] }
      need(!keys.has(w.key.toString('hex')), 'key twice')
      keys.add(w.key.toString('hex'))
      url(f[3])
      witnesses.push(w)
      define(f[1], signed => signed.has(f[1]))
    } else if (f[0] === 'group') {
      const names = f.slice(3), n = names.length
      need(n >= 1, 'group line')
      const least = f[2] === 'any' ? 1 : f[2] === 'all' ? n : /^[1-9][0-9]*$/.test(f[2]) ? Number(f[2]) : 0
      need(least >= 1 && least <= n, 'threshold')
      const tests = names.map(m => {
        need(parts.has(m) && !members.has(m), 'member')
        members.add(m)
        return parts.get(m)
      })
      define(f[1], signed => tests.filter(t => t(signed)).length >= least)
    } else {
      need(f[0] === 'quorum' && f.length === 2 && !quorum, 'line')
      need(f[1] === 'none' || parts.has(f[1]), 'quorum')
      quorum = f[1] === 'none' ? () => true : parts.get(f[1])
    }
  }
  need(quorum && !(log && keys.has(log.key.toString('hex'))), 'quorum, or the log is a witness')
  return { log, witnesses, quorum }
}

// openCheckpoint: step 4.
export function openCheckpoint(policy, text) {
  return as('bad-checkpoint', () => {
    need(Buffer.byteLength(text) <= 32768 && !/[\x00-\x09\x0b-\x1f]/.test(text), 'malformed')
    const split = text.lastIndexOf('\n\n')
    need(split >= 0, 'no signatures')
    const body = text.slice(0, split + 1), lines = text.slice(split + 2).split('\n')
    need(lines.length >= 2 && lines.pop() === '' && lines.length <= 100, 'signature lines')
    const seen = new Map()
    for (const line of lines) {
      const [, name, b64] = /^— ([^ ]+) (.+)$/.exec(line) ?? []
      need(name !== undefined && !/[\p{White_Space}+]/u.test(name) && /^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(b64), 'signature line')
      const raw = Buffer.from(b64, 'base64')
      need(raw.length >= 5, 'signature line')
      const known = [policy.log, ...policy.witnesses].filter(k => k.name === name && k.hash.equals(raw.subarray(0, 4)))
      need(known.length <= 1, 'two keys have one name and hash')
      if (known.length === 0 || seen.has(known[0])) continue
      seen.set(known[0], goodSignature(policy, known[0], body, raw.subarray(4)))
    }
    need(seen.has(policy.log), 'not signed by the log')
    const [origin, size, root, ...rest] = body.split('\n')
    need(origin === policy.log.name && /^(0|[1-9][0-9]*)$/.test(size) && BigInt(size) <= 1n << 48n, 'origin or size')
    need(rest.length >= 1 && rest.pop() === '' && rest.every(x => x !== ''), 'lines')
    const hash = base64(root)
    need(hash.length === 32, 'root hash')
    const names = new Set(policy.witnesses.filter(w => seen.has(w)).map(w => w.policyName))
    if (!policy.quorum(names)) refuse('too-few-witnesses', 'quorum')
    const times = policy.witnesses.filter(w => seen.has(w)).map(w => seen.get(w))
    return { text, size: BigInt(size), root: hash, time: times.length ? Math.min(...times) : undefined }
  })
}

// goodSignature gives the time of a cosignature in seconds.
function goodSignature(policy, k, body, sig) {
  if (k === policy.log) {
    need(ed25519(k.key, Buffer.from(body), sig), 'wrong signature of the log')
    return 0
  }
  need(sig.length === 72, 'cosignature')
  const at = sig.readBigUInt64BE()
  need(at > 0n && at <= 1n << 40n, 'time of cosignature')
  need(ed25519(k.key, Buffer.from(`cosignature/v1\ntime ${at}\n${body}`), sig.subarray(8)), 'wrong cosignature')
  return Number(at)
}

export function parseProof(text) {
  return as('bad-proof', () => {
    need(Buffer.byteLength(text) <= 32768 + 67 * 64, 'too big')
    const end = text.indexOf('\n\n')
    need(end >= 0, 'no checkpoint')
    const lines = text.slice(0, end).split('\n')
    need(lines.shift() === 'c2sp.org/tlog-proof@v1', 'header')
    if (lines[0]?.startsWith('extra ')) lines.shift()
    const [, index] = /^index (0|[1-9][0-9]*)$/.exec(lines.shift() ?? '') ?? []
    need(index !== undefined && BigInt(index) < 1n << 63n, 'index')
    const hashes = lines.map(base64)
    need(hashes.length <= 63 && hashes.every(h => h.length === 32), 'hashes')
    return { index: BigInt(index), hashes, checkpoint: text.slice(end + 2) }
  })
}

export const leafHash = entry => sha256(Buffer.from([0]), entry)
export const nodeHash = (l, r) => sha256(Buffer.from([1]), l, r)

// included checks an inclusion proof (RFC 9162, section 2.1.3.2).
export function included(leaf, index, size, hashes, root) {
  if (index < 0n || index >= size) return false
  let fn = index, sn = size - 1n, r = leaf
  for (const p of hashes) {
    if (sn === 0n) return false
    if (fn & 1n || fn === sn) {
      r = nodeHash(p, r)
      while (fn !== 0n && !(fn & 1n)) { fn >>= 1n; sn >>= 1n }
    } else r = nodeHash(r, p)
    fn >>= 1n
    sn >>= 1n
  }
  return sn === 0n && r.equals(root)
}

// treeRoot is the RFC 6962 tree hash of leaf hashes.
export function treeRoot(leaves) {
  if (leaves.length === 1) return leaves[0]
  let k = 1
  while (k * 2 < leaves.length) k *= 2
  return nodeHash(treeRoot(leaves.slice(0, k)), treeRoot(leaves.slice(k)))
}
