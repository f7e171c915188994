// A second verifier for Clerestory bundles, written from docs/spec to keep the
// first one honest. Node 18 or later, nothing else.
//
//   node verify.mjs TRUSTED_ROOT BUNDLE FILE    judge a file
//   node verify.mjs --vectors DIR               judge the test vectors
//
// Exit code: 0 verified (all vectors agree), 1 refused, 3 unchecked.

import { readFileSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { canonical, map, maybe, parse, read } from './json.mjs'
import { fileName, goodSignature, hex, id, isKey, keyID, keyText, keyTypes, parseEnvelope, parseStatement, sha256, signedBy } from './statement.mjs'
import { as, included, leafHash, openCheckpoint, parsePolicy, parseProof, Refusal, refuse, treeRoot } from './log.mjs'

const need = (ok, why) => { if (!ok) throw new Error(why) }
const unhex = s => Buffer.from(s, 'hex')
const hashOf = text => sha256(Buffer.from(text)).toString('hex')

const rootShape = {
  _type: 'string', spec_version: 'string', version: 'integer', expires: 'string', consistent_snapshot: 'boolean',
  keys: map({ keytype: 'string', scheme: 'string', keyval: { public: 'string' } }),
  roles: map({ keyids: ['string'], threshold: 'integer' }),
  'x-clerestory': maybe({ vendor: 'string', policy: 'string', approvals: 'integer', releaseKeys: [{ product: 'string', holders: 'integer', from: 'integer' }], formerly: [{ keys: ['string'], threshold: 'integer', until: 'integer' }] }),
}

// rawKey is the key in a TUF key object; its text must then come out again.
const rawKey = key => key.keytype === 'ecdsa' ? Buffer.from(key.keyval.public.split('\n').slice(1, 3).join(''), 'base64').subarray(26) : unhex(key.keyval.public)

// releaseRules are how many holders must sign a release, from which entry on.
function releaseRules(rules) {
  const last = Object.create(null)
  need(rules.length <= 256, 'releaseKeys')
  for (const r of rules) {
    if (r.product !== '*') id(r.product)
    need(r.holders >= 1 && r.holders <= 16 && r.from > (last[r.product] ?? -1), 'releaseKeys')
    last[r.product] = r.from
  }
  return (product, entry) => [product, '*'].map(p => rules.findLast(r => r.product === p && BigInt(r.from) <= entry)).find(r => r)?.holders ?? 1
}

// parseRoot reads a root without judging who signed it.
function parseRoot(bytes) {
  need(bytes.length <= 262144, 'too big')
  const file = read(parse(bytes), { signatures: [{ keyid: 'string', sig: 'string' }], signed: 'any' })
  const r = read(file.signed, rootShape), ext = r['x-clerestory']
  const expires = new Date(r.expires)
  need(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(r.expires) && !isNaN(expires) && expires.toISOString().slice(0, 19) === r.expires.slice(0, 19), 'expires')
  need(r._type === 'root' && r.spec_version.startsWith('1.') && r.version >= 1, 'not a root')
  need(ext && ext.approvals >= 1 && ext.approvals <= 16, 'x-clerestory')
  const role = r.roles.root
  need(role && role.threshold >= 1 && role.threshold <= role.keyids.length, 'threshold')
  const keys = role.keyids.map(k => {
    const key = r.keys[k]
    const pub = key && rawKey(key)
    need(key && isKey(pub) && keyText(pub) === key.keyval.public && `${keyTypes(pub)}` === `${[key.keytype, key.scheme]}` && keyID(pub) === k, 'key')
    return pub
  })
  need(new Set(role.keyids).size === keys.length, 'key twice')
  let before = 0
  const former = ext.formerly.map(f => {
    const set = [...new Set(f.keys)]
    need(set.every(k => hex(k, 32, 65) && isKey(unhex(k))) && f.threshold >= 1 && f.threshold <= set.length && f.until >= before, 'formerly')
    before = f.until
    return { keys: set.map(unhex), threshold: f.threshold, until: BigInt(f.until) }
  })
  const holders = releaseRules(ext.releaseKeys)
  const policy = parsePolicy(ext.policy)
  need(policy.log, 'no log')
  id(ext.vendor)
  return {
    version: r.version, expires, approvals: ext.approvals, holders, policy, former, keys, threshold: role.threshold,
    text: Buffer.from(canonical(file.signed)), signatures: file.signatures,
  }
}

function rootSignedBy(root, by) {
  const good = by.keys.filter(pub => root.signatures.some(s =>
    s.keyid === keyID(pub) && /^([0-9a-f]{2})+$/.test(s.sig) && goodSignature(pub, root.text, unhex(s.sig))))
  need(good.length >= by.threshold, 'too few root signatures')
}

// follow is step 3.
function follow(root, texts) {
  for (const t of texts) {
    const next = parseRoot(Buffer.from(t))
    if (next.version <= root.version) continue
    need(next.version === root.version + 1, 'version skipped')
    rootSignedBy(next, root)
    rootSignedBy(next, next)
    root = next
  }
  return root
}

function parseBundle(bytes) {
  need(bytes.length <= 8 << 20, 'too big')
  const b = read(parse(bytes), {
    mediaType: 'string', roots: ['string'], entries: [{ envelope: 'string', proof: 'string' }],
    member: maybe({ name: 'string', sha256: 'string', index: 'integer', hashes: ['string'] }),
  })
  need(b.mediaType === 'application/vnd.clerestory.bundle.v1+json', 'mediaType')
  need(b.entries.length >= 1 && b.entries.length <= 256 && b.roots.length <= 64, 'entries or roots')
  return b
}

// prove is steps 4 and 5.
function prove(root, bundle) {
  let checkpoint
  const entries = []
  for (const be of bundle.entries) {
    const p = parseProof(be.proof)
    checkpoint ??= openCheckpoint(root.policy, p.checkpoint)
    if (p.checkpoint !== checkpoint.text) refuse('bad-bundle', 'two checkpoints')
    if (entries.length && p.index <= entries.at(-1).index) refuse('bad-bundle', 'order')
    if (!included(leafHash(Buffer.from(be.envelope)), p.index, checkpoint.size, p.hashes, checkpoint.root)) refuse('bad-proof', 'not in the log')
    entries.push(as('bad-statement', () => {
      const envelope = parseEnvelope(be.envelope)
      return { index: p.index, hash: hashOf(be.envelope), envelope, ...parseStatement(envelope.payload) }
    }))
  }
  return { checkpoint, entries }
}

// authority is step 6: who may say what where, and what was taken back.
function authority(root, entries) {
  const grants = [], revocations = []
  const rootSigned = e => [{ ...root, until: e.index + 1n }, ...root.former].some(set =>
    e.index < set.until && set.keys.filter(pub => signedBy(e.envelope, pub)).length >= set.threshold)
  for (const e of entries.filter(e => e.kind === 'key')) {
    const k = e.predicate
    if (!rootSigned(e)) refuse('bad-signature', 'key statement')
    if (k.action === 'grant') { grants.push({ ...k, from: e.index, until: 1n << 64n }); continue }
    const since = BigInt(k.since), end = k.action === 'revoke' && since < e.index ? since : e.index
    for (const g of grants) {
      if (g.keyid === k.keyid && (k.action === 'revoke' || g.role === k.role) && end < g.until) g.until = end
    }
  }
  // signers: the keys that signed e in a role for a product, one per holder.
  const signers = (e, role, product) => {
    const found = []
    for (const s of e.envelope.signatures) {
      const g = grants.find(g => g.keyid === s.keyid && g.role === role && g.from < e.index && e.index < g.until &&
        (g.products.includes(product) || g.products.includes('*')) && !found.some(f => f.holder === g.holder))
      if (g && signedBy(e.envelope, g.publicKey)) found.push({ keyid: g.keyid, holder: g.holder })
    }
    return found
  }
  for (const e of entries.filter(e => e.kind === 'revocation')) {
    const r = e.predicate
    if (BigInt(r.entry) < e.index && signers(e, 'release', r.product).length) revocations.push({ ...r, sha256: e.subject[0].digest.sha256 })
  }
  const revoked = (e, product) => revocations.some(r =>
    BigInt(r.entry) === e.index && r.kind === e.kind && r.product === product && r.sha256 === e.hash)
  return { signers, revoked }
}

const line = (sum, name) => leafHash(Buffer.from(`${sum}  ${name}`))

function memberProven(m, manifest) {
  try {
    fileName(m.name)
    need(m.hashes.length <= 63 && m.hashes.every(h => /^[0-9a-fA-F]{64}$/.test(h)), 'hashes')
    return included(line(m.sha256, m.name), BigInt(m.index), BigInt(manifest.files), m.hashes.map(unhex), unhex(manifest.root))
  } catch { return false }
}

// findRelease is step 7.
function findRelease(entries, member, sum) {
  let code = 'not-released'
  for (const e of [...entries].reverse().filter(e => e.kind === 'release')) {
    const manifest = e.predicate.manifest
    if (manifest.files > 128) {
      if (member?.sha256 !== sum) continue
      if (memberProven(member, manifest)) return e
      code = 'bad-proof'
    } else if (e.subject.some(s => s.digest.sha256 === sum)) {
      const root = treeRoot(e.subject.map(s => line(s.digest.sha256, s.name)))
      if (root.toString('hex') !== manifest.root) refuse('bad-statement', 'manifest')
      return e
    }
  }
  return refuse(code, 'no release has these bytes')
}

// judge is steps 6 to 13; advisories (step 12) never change a verdict.
function judge(root, { checkpoint, entries }, member, file, now) {
  if (!hex(file.sha256, 32)) return { verdict: 'unchecked', code: '' }
  const { signers, revoked } = authority(root, entries)
  const release = findRelease(entries, member, file.sha256), r = release.predicate
  const by = signers(release, 'release', r.product).length
  if (!by) refuse('bad-signature', 'release')
  if (by < root.holders(r.product, release.index)) refuse('too-few-signers', 'release keys')
  if (signers(release, 'approver', r.product).length < root.approvals) refuse('too-few-approvals', 'approvals')
  if (revoked(release, r.product)) refuse('revoked', 'release')
  const named = (kind, hash) => {
    const e = entries.find(e => e.kind === kind && e.index < release.index && e.hash === hash) ?? refuse('bad-provenance', kind)
    if (revoked(e, r.product)) refuse('revoked', kind)
    return e
  }
  const source = named('source', r.source), s = source.predicate // step 10
  if (!signers(source, 'source', s.product).length) refuse('bad-signature', 'source')
  if (s.commit !== r.commit || s.tree !== r.tree || s.product !== r.product) refuse('bad-provenance', 'source')
  const build = named('build', r.build) // step 11
  if (!signers(build, 'builder', r.product).length) refuse('bad-signature', 'build')
  if (build.predicate.commit !== r.commit) refuse('bad-provenance', 'build')
  const seen = checkpoint.time === undefined ? 0 : checkpoint.time * 1000
  return Math.max(now.getTime(), seen) > root.expires.getTime() ? { verdict: 'unchecked', code: '' } : { verdict: 'verified', code: '' }
}

export function verifyBundle(trust, bundleBytes, file, now) {
  try {
    let root = as('bad-trusted-root', () => { const r = parseRoot(trust); rootSignedBy(r, r); return r }) // step 1
    const bundle = as('bad-bundle', () => parseBundle(bundleBytes)) // step 2
    root = as('bad-trusted-root', () => follow(root, bundle.roots)) // step 3
    return judge(root, prove(root, bundle), bundle.member, file, now)
  } catch (e) {
    if (e instanceof Refusal) return { verdict: 'refused', code: e.code, reason: e.message }
    throw e
  }
}

function vectors(dir) {
  let wrong = 0
  for (const name of readdirSync(dir).sort()) {
    const want = JSON.parse(readFileSync(join(dir, name, 'vector.json')))
    const got = verifyBundle(readFileSync(join(dir, name, 'trusted_root.json')), readFileSync(join(dir, name, 'bundle.json')), want.file, new Date(want.now))
    const agree = got.verdict === want.verdict && got.code === want.code
    if (!agree) wrong++
    console.log(`${agree ? 'agree   ' : 'DISAGREE'} ${name}: ${got.verdict} ${got.code}${agree ? '' : ` (${got.reason ?? ''}); expected ${want.verdict} ${want.code}`}`)
  }
  return wrong ? 1 : 0
}

const [first, bundle, path] = process.argv.slice(2)
if (first === '--vectors') process.exitCode = vectors(bundle)
else if (path) {
  const content = readFileSync(path)
  const got = verifyBundle(readFileSync(first), readFileSync(bundle), { name: basename(path), sha256: sha256(content).toString('hex') }, new Date())
  console.log(JSON.stringify(got))
  process.exitCode = { verified: 0, refused: 1, unchecked: 3 }[got.verdict]
} else {
  console.error('usage: node verify.mjs TRUSTED_ROOT BUNDLE FILE | node verify.mjs --vectors DIR')
  process.exitCode = 2
}
