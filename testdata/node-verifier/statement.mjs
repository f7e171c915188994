// Envelopes and statements (docs/spec/statement.md and one page per kind).

import { createHash, createPublicKey, verify } from 'node:crypto'
import { map, parse, read } from './json.mjs'

const need = (ok, why) => { if (!ok) throw new Error(why) }

export const sha256 = (...parts) => parts.reduce((h, p) => h.update(p), createHash('sha256')).digest()
export const hex = (s, ...lengths) => /^([0-9a-f]{2})*$/.test(s) && lengths.includes(s.length / 2)

export function ed25519(publicKey, message, signature) {
  if (publicKey.length !== 32 || signature.length !== 64) return false
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), publicKey])
  return verify(null, message, createPublicKey({ key: der, format: 'der', type: 'spki' }), signature)
}

// An ECDSA P-256 key is its point, uncompressed; its signature strict DER with the smaller s.
const spki = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex')
const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n

const p256Key = pub => createPublicKey({ key: Buffer.concat([spki, pub]), format: 'der', type: 'spki' }) // throws off the curve
const isP256 = pub => pub.length === 65 && pub[0] === 4

export function isKey(pub) {
  if (pub.length === 32) return true
  if (!isP256(pub)) return false
  try { p256Key(pub); return true } catch { return false }
}

// ecdsaForm tells whether these bytes are a P-256 signature in its one form.
export function ecdsaForm(sig) {
  let at = 2
  const integer = () => {
    const n = sig[at + 1], v = sig.subarray(at + 2, at + 2 + n)
    if (sig[at] !== 2 || !n || v.length !== n || v[0] > 127 || v[0] === 0 && (n === 1 || v[1] < 128)) return 0n
    at += 2 + n
    return BigInt('0x' + v.toString('hex'))
  }
  if (sig.length < 2 || sig[0] !== 0x30 || sig[1] !== sig.length - 2) return false
  const r = integer(), s = r && integer()
  return r > 0n && r < 1n << 256n && s > 0n && s <= order / 2n && at === sig.length
}

// goodSignature is for either kind of key.
export function goodSignature(pub, message, sig) {
  if (!isP256(pub)) return ed25519(pub, message, sig)
  return ecdsaForm(sig) && verify('sha256', message, { key: p256Key(pub), dsaEncoding: 'der' }, sig)
}

// keyText is a key as TUF has it: hex, or PEM of two lines.
export function keyText(pub) {
  if (!isP256(pub)) return pub.toString('hex')
  const b = Buffer.concat([spki, pub]).toString('base64')
  return `-----BEGIN PUBLIC KEY-----\n${b.slice(0, 64)}\n${b.slice(64)}\n-----END PUBLIC KEY-----\n`
}
export const keyTypes = pub => isP256(pub) ? ['ecdsa', 'ecdsa-sha2-nistp256'] : ['ed25519', 'ed25519']

export function keyID(pub) {
  const [type, scheme] = keyTypes(pub)
  return sha256(`{"keytype":"${type}","keyval":{"public":"${keyText(pub)}"},"scheme":"${scheme}"}`).toString('hex')
}

const payloadType = 'application/vnd.in-toto+json'
const pae = payload => Buffer.concat([Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `), payload])

// signedBy tells whether a public key made one of the envelope's signatures.
export function signedBy(envelope, pub) {
  const s = envelope.signatures.find(s => s.keyid === keyID(pub))
  return s !== undefined && goodSignature(pub, pae(envelope.payload), s.sig)
}

export function parseEnvelope(text) {
  need(Buffer.byteLength(text) <= 65535, 'too big')
  const e = read(parse(Buffer.from(text)), { payloadType: 'string', payload: 'bytes', signatures: [{ keyid: 'string', sig: 'bytes' }] })
  const again = `{"payloadType":"${payloadType}","payload":"${e.payload.toString('base64')}","signatures":[${
    e.signatures.map(s => `{"keyid":"${s.keyid}","sig":"${s.sig.toString('base64')}"}`).join(',')}]}`
  need(again === text, 'not canonical')
  need(e.payload.length > 0 && e.signatures.length >= 1 && e.signatures.length <= 32, 'payload or signatures')
  for (const s of e.signatures) need(hex(s.keyid, 32) && (s.sig.length === 64 || ecdsaForm(s.sig)), 'signature')
  need(new Set(e.signatures.map(s => s.keyid)).size === e.signatures.length, 'key twice')
  return e
}

function text(s, least = 0) {
  const n = Buffer.byteLength(s)
  need(n >= least && n <= 4096, 'length of text')
  for (const ch of s) {
    const r = ch.codePointAt(0)
    need(!(r < 0x20 && r !== 10 && r !== 9 || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069), 'control character')
  }
}

function time(s) {
  need(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/.test(s), 'time')
  const t = new Date(s.slice(0, 19) + 'Z')
  need(!isNaN(t) && t.toISOString().slice(0, 19) === s.slice(0, 19), 'date')
}

export const id = s => need(/^[a-z0-9][a-z0-9._-]{0,63}$/.test(s), 'identifier')
const hexField = (s, ...lengths) => need(hex(s, ...lengths), 'hex')

const digestLengths = { sha256: [32], sha512: [64], gitCommit: [20, 32], gitTree: [20, 32] }
function digest(alg, d) {
  const known = Object.hasOwn(digestLengths, alg)
  need(/^([0-9a-f]{2}){1,64}$/.test(d) && (!known || digestLengths[alg].includes(d.length / 2)), 'digest')
}

export function fileName(s) {
  text(s, 1)
  need(Buffer.byteLength(s) <= 512 && !/[\\:\n\t"<>|?*]/.test(s), 'file name')
  for (const part of s.split('/')) need(part !== '' && part !== '.' && part !== '..' && !part.endsWith(' '), 'file name')
}

function word(s) {
  text(s, 1)
  need(Buffer.byteLength(s) <= 128 && !/[ \n\t"<>]/.test(s), 'word')
}
const version = s => need(/^[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}$/.test(s), 'version')
const steps = { acknowledge: 'integer', triage: 'integer', fix: 'integer', publish: 'integer' }
const justifications = ['component_not_present', 'vulnerable_code_not_present', 'vulnerable_code_not_in_execute_path',
  'vulnerable_code_cannot_be_controlled_by_adversary', 'inline_mitigations_already_exist']

const resource = { name: 'string', uri: 'string', digest: map('string') }

// The kinds: the members of the predicate, and the rules.
const kinds = {
  'https://clerestory.dev/release/v1': {
    name: 'release',
    shape: {
      product: 'string', version: 'string', channel: 'string', manifest: { files: 'integer', root: 'string' }, commit: 'string', tree: 'string',
      source: 'string', build: 'string', sbom: { name: 'string', sha256: 'string', size: 'integer' }, notes: 'string', at: 'string', emergency: { why: 'string', reviewHours: 'integer' },
    },
    check(p, subject) {
      need(p.manifest.files >= 1 && p.sbom.size >= 0, 'counts')
      if (p.manifest.files <= 128) {
        need(subject.length === p.manifest.files, 'number of subjects')
        subject.forEach((s, i) => {
          need(i === 0 || Buffer.compare(Buffer.from(subject[i - 1].name), Buffer.from(s.name)) < 0, 'order')
          fileName(s.name)
        })
      } else need(subject.length === 1 && subject[0].digest.sha256 === p.manifest.root, 'subject')
      for (const s of subject) need(s.digest.sha256, 'sha256')
      id(p.product); id(p.channel)
      need(/^[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}$/.test(p.version), 'version')
      hexField(p.manifest.root, 32); hexField(p.commit, 20, 32); hexField(p.tree, 20, 32)
      hexField(p.source, 32); hexField(p.build, 32); hexField(p.sbom.sha256, 32)
      fileName(p.sbom.name); text(p.notes); time(p.at)
      const e = p.emergency
      if (e.why !== '' || e.reviewHours !== 0) { need(e.reviewHours >= 1 && e.reviewHours <= 2160, 'reviewHours'); text(e.why, 1) }
    },
  },
  'https://slsa.dev/provenance/v1': {
    name: 'build',
    shape: {
      buildDefinition: {
        buildType: 'string', externalParameters: 'any', internalParameters: 'any',
        resolvedDependencies: [resource],
      },
      runDetails: { builder: { id: 'string' }, metadata: { invocationId: 'string', startedOn: 'string', finishedOn: 'string' } },
    },
    check(p, subject) {
      const d = p.buildDefinition, m = p.runDetails.metadata
      need(isObject(d.externalParameters), 'externalParameters')
      for (const s of subject) need(s.digest.sha256, 'sha256')
      for (const r of d.resolvedDependencies) for (const alg in r.digest) digest(alg, r.digest[alg])
      text(d.buildType, 1); text(p.runDetails.builder.id, 1)
      if (m.startedOn) time(m.startedOn)
      if (m.finishedOn) time(m.finishedOn)
      p.commit = d.resolvedDependencies.map(r => r.digest.gitCommit).find(c => c) ?? ''
    },
  },
  'https://in-toto.io/attestation/test-result/v0.1': {
    name: 'test',
    shape: {
      result: 'string', configuration: [resource], url: 'string', passedTests: ['string'], warnedTests: ['string'], failedTests: ['string'],
      clerestory: { product: 'string', numbers: map('integer'), report: resource, at: 'string' },
    },
    check(p, subject) {
      const c = p.clerestory
      for (const s of subject) need(s.digest.sha256, 'sha256')
      need(['PASSED', 'WARNED', 'FAILED'].includes(p.result), 'result')
      need(p.configuration.length >= 1 && p.configuration.length <= 32, 'configuration')
      need(p.result === 'FAILED' || p.failedTests.length === 0, 'failedTests')
      for (const r of [...p.configuration, c.report]) {
        for (const alg in r.digest) digest(alg, r.digest[alg])
        text(r.name); text(r.uri)
      }
      for (const list of [p.passedTests, p.warnedTests, p.failedTests]) {
        need(list.length <= 500, 'tests')
        for (const t of list) text(t, 1)
      }
      text(p.url)
      if (c.product) id(c.product)
      need(Object.keys(c.numbers).length <= 64, 'numbers')
      for (const n in c.numbers) { text(n, 1); need(c.numbers[n] >= 0, 'numbers') }
      if (c.at) time(c.at)
    },
  },
  'https://clerestory.dev/source/v1': {
    name: 'source',
    shape: { product: 'string', repository: 'string', commit: 'string', tree: 'string', files: 'integer', at: 'string' },
    check(p, subject) {
      need(subject.length === 1 && subject[0].name === p.repository && subject[0].digest.gitCommit === p.commit && subject[0].digest.gitTree === p.tree, 'subject')
      need(p.files >= 0, 'files')
      id(p.product); text(p.repository, 1); hexField(p.commit, 20, 32); hexField(p.tree, 20, 32); time(p.at)
    },
  },
  'https://clerestory.dev/key/v1': {
    name: 'key',
    shape: {
      action: 'string', keyid: 'string', publicKey: 'bytes', role: 'string', holder: 'string', products: ['string'], since: 'integer', reason: 'string', at: 'string',
    },
    check(p, subject) {
      need(['grant', 'retire', 'revoke'].includes(p.action) && isKey(p.publicKey) && p.keyid === keyID(p.publicKey), 'key')
      need(['approver', 'builder', 'programme', 'rebuilder', 'release', 'reviewer', 'security', 'source', 'tester'].includes(p.role), 'role')
      need(p.products.length >= 1 && p.products.length <= 64, 'products')
      need(p.since >= 0 && (p.since === 0 || p.action === 'revoke') && (p.action === 'grant' || p.reason !== ''), 'since or reason')
      need(subject.length === 1 && subject[0].name === `key:${p.keyid}` && subject[0].digest.sha256 === sha256(p.publicKey).toString('hex'), 'subject')
      for (const x of p.products) if (x !== '*') id(x)
      id(p.holder); text(p.reason); time(p.at)
    },
  },
  'https://clerestory.dev/advisory/v1': {
    name: 'advisory',
    shape: {
      id: 'string', version: 'string', title: 'string', status: 'string', tlp: 'string', severity: 'string', document: { name: 'string', sha256: 'string', size: 'integer' },
      vulnerabilities: [{ id: 'string', title: 'string', products: [{ product: 'string', affected: ['string'], fixed: ['string'], notAffected: ['string'], underInvestigation: ['string'] }] }],
      released: 'string', at: 'string',
    },
    check(p, subject) {
      need(subject.length === 1 && subject[0].name === p.document.name && subject[0].digest.sha256 === p.document.sha256, 'subject')
      need(['final', 'interim'].includes(p.status) && ['WHITE', 'CLEAR'].includes(p.tlp) && p.document.size >= 1, 'status, tlp or size')
      need(p.vulnerabilities.length >= 1 && p.vulnerabilities.length <= 64, 'vulnerabilities')
      need(new Set(p.vulnerabilities.map(v => v.id)).size === p.vulnerabilities.length, 'vulnerability twice')
      for (const v of p.vulnerabilities) {
        word(v.id); text(v.title)
        need(v.products.length >= 1 && v.products.length <= 64 && new Set(v.products.map(x => x.product)).size === v.products.length, 'products')
        for (const x of v.products) {
          id(x.product)
          const all = [...x.affected, ...x.fixed, ...x.notAffected, ...x.underInvestigation]
          need(all.length >= 1 && all.length <= 256 && new Set(all).size === all.length, 'versions')
          all.forEach(version)
        }
      }
      word(p.id); version(p.version); text(p.title, 1); text(p.severity); fileName(p.document.name); hexField(p.document.sha256, 32); time(p.released); time(p.at)
    },
  },
  'https://openvex.dev/ns': {
    name: 'vex',
    shape: {
      '@context': 'string', '@id': 'string', author: 'string', role: 'string', timestamp: 'string', version: 'integer', tooling: 'string',
      statements: [{
        vulnerability: { name: 'string', description: 'string', aliases: ['string'] }, products: [{ '@id': 'string', identifiers: { purl: 'string' } }], status: 'string',
        status_notes: 'string', justification: 'string', impact_statement: 'string', action_statement: 'string',
      }],
    },
    check(p, subject) {
      for (const s of subject) need(s.digest.sha256, 'sha256')
      need(p['@context'] === 'https://openvex.dev/ns/v0.2.0' && p.version >= 1, 'context or version')
      need(p.statements.length >= 1 && p.statements.length <= 256, 'statements')
      for (const s of p.statements) {
        const not = s.status === 'not_affected', hit = s.status === 'affected'
        need(not || hit || ['fixed', 'under_investigation'].includes(s.status), 'status')
        need(s.products.length >= 1 && s.products.length <= 256, 'products')
        need(s.justification === '' || not && justifications.includes(s.justification), 'justification')
        need(!not || s.justification || s.impact_statement, 'not_affected without a reason')
        need(hit === (s.action_statement !== '') && (not || s.impact_statement === ''), 'action or impact')
        for (const x of s.products) {
          need(/^pkg:generic\/[a-z0-9][a-z0-9._-]{0,63}\/[a-z0-9][a-z0-9._-]{0,63}@[A-Za-z0-9]([A-Za-z0-9._~-]|%2B){0,63}$/.test(x['@id']), 'purl')
          need(x.identifiers.purl === '' || x.identifiers.purl === x['@id'], 'purl')
        }
        word(s.vulnerability.name); s.vulnerability.aliases.forEach(word); text(s.vulnerability.description)
        text(s.status_notes); text(s.impact_statement); text(s.action_statement)
      }
      text(p['@id'], 1); text(p.author, 1); text(p.role); text(p.tooling); time(p.timestamp)
    },
  },
  'https://clerestory.dev/disclosure/v1': {
    name: 'disclosure',
    shape: {
      from: 'string', to: 'string', received: 'integer', acknowledged: 'integer', triaged: 'integer', fixed: 'integer', published: 'integer', rejected: 'integer',
      open: 'integer', fixDays: ['integer'], promises: steps, missed: steps, receipts: ['string'], at: 'string',
    },
    check(p, subject) {
      time(p.from); time(p.to); time(p.at)
      need(subject.length === 1 && subject[0].name === `disclosure:${p.from}/${p.to}` && subject[0].digest.sha256 === sha256(p.receipts.join('\n')).toString('hex'), 'subject')
      need(p.from < p.to && p.received === p.receipts.length && p.receipts.length <= 500 && p.fixed === p.fixDays.length, 'counts')
      need(p.fixDays.every((d, i) => i === 0 || p.fixDays[i - 1] <= d) && p.receipts.every((r, i) => i === 0 || p.receipts[i - 1] < r), 'order')
      for (const r of p.receipts) hexField(r, 32)
      for (const n of [p.received, p.acknowledged, p.triaged, p.fixed, p.published, p.rejected, p.open, ...p.fixDays, ...Object.values(p.promises), ...Object.values(p.missed)]) need(n >= 0, 'negative')
    },
  },
  'https://clerestory.dev/programme/v1': {
    name: 'programme',
    shape: { vendor: 'string', name: 'string', files: map('string'), changes: ['string'], at: 'string' },
    check(p, subject) {
      need(subject.length === 1 && subject[0].name === `programme:${p.vendor}` && subject[0].digest.sha256, 'subject')
      const files = Object.keys(p.files)
      need(files.length >= 1 && files.length <= 400 && p.changes.length <= 200, 'files or changes')
      for (const f of files) { text(f, 1); hexField(p.files[f], 32) }
      for (const c of p.changes) text(c, 1)
      id(p.vendor); text(p.name, 1); time(p.at)
    },
  },
  'https://clerestory.dev/review/v1': {
    name: 'review',
    shape: { entry: 'integer', product: 'string', version: 'string', outcome: 'string', findings: 'string', at: 'string' },
    check(p, subject) {
      need(subject.length === 1 && subject[0].name === `entry:${p.entry}` && subject[0].digest.sha256 && p.entry >= 0, 'subject')
      need(['upheld', 'objected'].includes(p.outcome), 'outcome')
      id(p.product); version(p.version); text(p.findings, 1); time(p.at)
    },
  },
  'https://clerestory.dev/revocation/v1': {
    name: 'revocation',
    shape: { entry: 'integer', kind: 'string', product: 'string', reason: 'string', at: 'string' },
    check(p, subject) {
      need(subject.length === 1 && subject[0].name === `entry:${p.entry}` && subject[0].digest.sha256 && p.entry >= 0, 'subject')
      text(p.kind, 1); id(p.product); text(p.reason, 1); time(p.at)
    },
  },
}

const isObject = v => v !== null && typeof v === 'object' && Object.getPrototypeOf(v) === null

// parseStatement gives { kind, subject, predicate }; kind is the predicate type
// itself where it is not known.
export function parseStatement(payload) {
  need(payload.length <= 65535, 'too big')
  const s = read(parse(payload), { _type: 'string', subject: [{ name: 'string', digest: map('string') }], predicateType: 'string', predicate: 'any' })
  need(s._type === 'https://in-toto.io/Statement/v1', '_type')
  need(s.predicateType.includes(':') && Buffer.byteLength(s.predicateType) <= 256, 'predicateType')
  text(s.predicateType, 1)
  need(s.subject.length >= 1 && s.subject.length <= 512, 'subjects')
  for (const sub of s.subject) {
    text(sub.name, 1)
    const algs = Object.keys(sub.digest)
    need(algs.length >= 1 && algs.length <= 8, 'digests')
    for (const a of algs) digest(a, sub.digest[a])
  }
  need(isObject(s.predicate), 'predicate')
  const kind = Object.hasOwn(kinds, s.predicateType) ? kinds[s.predicateType] : undefined
  if (!kind) return { kind: s.predicateType, subject: s.subject, predicate: s.predicate }
  const predicate = read(s.predicate, kind.shape)
  kind.check(predicate, s.subject)
  return { kind: kind.name, subject: s.subject, predicate }
}

