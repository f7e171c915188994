package verify

import (
	"fmt"
	"math"
	"slices"

	"clerestory.dev/clerestory/statement"
)

// Authority is who may say what at which position of the log: the key
// statements of some evidence, in force. It also knows what was revoked.
type Authority struct {
	trust       *Trust
	grants      map[string][]grant // by key id
	revocations []Revoked
}

type grant struct {
	key   statement.Key
	from  int64 // valid for entries with from < index < until
	until int64
}

// may tells whether the key has role for product at a log entry; product "" asks
// for any.
func (g grant) may(role, product string, entry int64) bool {
	return g.key.Role == role && g.from < entry && entry < g.until &&
		(product == "" || slices.Contains(g.key.Products, product) || slices.Contains(g.key.Products, "*"))
}

// Revoked is a statement that was taken back.
type Revoked struct {
	Entry   int64 // what was taken back
	SHA256  string
	By      int64 // the entry that says so
	Reason  string
	Kind    string // of what was taken back
	Product string // whose keys took it back
}

// Signer is a good signature by a key that had a role at that position.
type Signer struct {
	KeyID  string `json:"keyid"`
	Holder string `json:"holder"`
	Role   string `json:"role"`
}

// NewAuthority reads the key and revocation statements among entries, which
// must be proven and in order. A key statement that the root has not signed is
// a refusal: it can only be an attempt to get a key in.
func (t *Trust) NewAuthority(entries []Entry) (*Authority, error) {
	a := &Authority{trust: t, grants: map[string][]grant{}}
	for _, e := range entries {
		if e.Statement.PredicateType == statement.KeyType {
			if err := a.addKey(e); err != nil {
				return nil, err
			}
		}
	}
	for _, e := range entries {
		if e.Statement.PredicateType == statement.RevocationType {
			if err := a.addRevocation(e); err != nil {
				return nil, err
			}
		}
	}
	return a, nil
}

func (a *Authority) addKey(e Entry) error {
	k, err := statement.As(e.Statement, &statement.Key{})
	if err != nil {
		return refuse(CodeStatement, "entry %d: %v", e.Index, err)
	}
	if err := a.trust.rootSigned(e.Envelope, e.Index); err != nil {
		return err
	}
	if k.Action == statement.KeyGrant {
		a.grants[k.KeyID] = append(a.grants[k.KeyID], grant{*k, e.Index, math.MaxInt64})
		return nil
	}
	// Whoever stole a key has it for every role, so a revocation ends them all.
	revoke, end := k.Action == statement.KeyRevoke, e.Index
	if revoke {
		end = min(end, k.Since)
	}
	for i, g := range a.grants[k.KeyID] {
		if revoke || g.key.Role == k.Role {
			a.grants[k.KeyID][i].until = min(g.until, end)
		}
	}
	return nil
}

// addRevocation believes a revocation that the release role of its product has
// signed; others are ignored, or anybody with any key could stop a product.
func (a *Authority) addRevocation(e Entry) error {
	r, err := statement.As(e.Statement, &statement.Revocation{})
	if err != nil {
		return refuse(CodeStatement, "entry %d: %v", e.Index, err)
	}
	if len(a.signers(e, "release", r.Product)) > 0 && r.Entry < e.Index {
		a.revocations = append(a.revocations, Revoked{r.Entry, e.Statement.Subject[0].Digest["sha256"], e.Index, r.Reason, r.Kind, r.Product})
	}
	return nil
}

// RevokedBy finds the revocation of an entry. Where the statement names its
// product, only that product's revocation counts.
func (a *Authority) RevokedBy(e Entry) (Revoked, bool) {
	return a.revokedFor(e, productOf(e.Statement))
}

// productOf is the product that a statement names, or "".
func productOf(s *statement.Statement) string {
	if r, err := statement.As(s, &statement.Release{}); err == nil {
		return r.Product
	}
	if r, err := statement.As(s, &statement.Source{}); err == nil {
		return r.Product
	}
	if r, err := statement.As(s, &statement.TestResult{}); err == nil {
		return r.Clerestory.Product
	}
	return ""
}

// revokedFor finds the revocation of an entry by a product's release role: one
// product's keys must not stop another's releases. Product "" asks for any.
func (a *Authority) revokedFor(e Entry, product string) (Revoked, bool) {
	i := slices.IndexFunc(a.revocations, func(r Revoked) bool {
		return r.Entry == e.Index && r.Kind == e.Statement.Kind() && (product == "" || r.Product == product) &&
			r.SHA256 == statement.HashOf(e.Raw)
	})
	if i < 0 {
		return Revoked{}, false
	}
	return a.revocations[i], true
}

// signers lists the good signatures of e by keys that had role for product at
// e's position; product "" asks for any. Each holder counts once.
func (a *Authority) signers(e Entry, role, product string) []Signer {
	found := []Signer{}
	for _, sig := range e.Envelope.Signatures {
		for _, g := range a.grants[sig.KeyID] {
			counted := slices.ContainsFunc(found, func(s Signer) bool { return s.Holder == g.key.Holder })
			if g.may(role, product, e.Index) && !counted && e.Envelope.SignedBy(g.key.Public, sig) {
				found = append(found, Signer{sig.KeyID, g.key.Holder, role})
				break
			}
		}
	}
	return found
}

// Tested tells whether entries hold a believed, unrevoked test of product that
// passed this gate on all files with these digests (SHA-256, hex), and who ran it.
// A test that names another product, or none, counts for nothing: its tester was
// not asked about this one. Of several, the last one counts, so that a failure
// after a pass is not outvoted.
func (a *Authority) Tested(entries []Entry, gate, product string, sums []string) (Entry, []Signer) {
	for _, e := range slices.Backward(entries) {
		r, err := statement.As(e.Statement, &statement.TestResult{})
		if err != nil || product == "" || r.Gate() != gate || r.Clerestory.Product != product || len(sums) == 0 ||
			slices.ContainsFunc(sums, func(sum string) bool { return !hasDigest(e.Statement, sum) }) {
			continue
		}
		signers, err := a.Believe(e)
		if _, revoked := a.RevokedBy(e); err != nil || revoked {
			continue // a stranger's statement neither opens nor shuts a gate
		}
		if r.Result != statement.TestPassed {
			return Entry{}, nil
		}
		return e, signers
	}
	return Entry{}, nil
}

// Signers lists every good signature of a statement with the role that its key
// had there: what a page shows beside it.
func (a *Authority) Signers(e Entry) []Signer {
	all := []Signer{}
	for _, role := range statement.Roles {
		all = append(all, a.signers(e, role, "")...)
	}
	for _, id := range a.trust.rootSigners(e.Envelope, e.Index) {
		all = append(all, Signer{id, "root", "root"})
	}
	return all
}

// Believe checks that e is signed as its kind demands at its position in the
// log, and returns who said it. An unknown kind is nobody's to believe.
func (a *Authority) Believe(e Entry) ([]Signer, error) {
	need := func(product string, roles ...string) ([]Signer, error) {
		var s []Signer
		for _, role := range roles {
			s = append(s, a.signers(e, role, product)...)
		}
		if len(s) == 0 {
			return nil, refuse(CodeSignature, "the %s statement at entry %d is not signed by a key that had the role %s there", e.Statement.Kind(), e.Index, roles[0])
		}
		return s, nil
	}
	switch e.Statement.PredicateType {
	case statement.KeyType:
		return []Signer{{Holder: "root", Role: "root"}}, a.trust.rootSigned(e.Envelope, e.Index)
	case statement.SourceType:
		s, err := statement.As(e.Statement, &statement.Source{})
		if err != nil {
			return nil, refuse(CodeStatement, "entry %d: %v", e.Index, err)
		}
		return need(s.Product, "source")
	case statement.BuildType:
		return need("", "builder", "rebuilder")
	case statement.TestResultType:
		r, err := statement.As(e.Statement, &statement.TestResult{})
		if err != nil {
			return nil, refuse(CodeStatement, "entry %d: %v", e.Index, err)
		}
		return need(r.Clerestory.Product, "tester")
	case statement.AdvisoryType:
		adv, err := statement.As(e.Statement, &statement.Advisory{})
		if err != nil {
			return nil, refuse(CodeStatement, "entry %d: %v", e.Index, err)
		}
		return a.believeSecurity(e, adv.Products())
	case statement.VEXType:
		v, err := statement.As(e.Statement, &statement.VEX{})
		if err != nil {
			return nil, refuse(CodeStatement, "entry %d: %v", e.Index, err)
		}
		return a.believeSecurity(e, v.ProductIDs())
	case statement.DisclosureType:
		return need("", "security")
	case statement.ProgrammeType:
		return need("", "programme")
	case statement.ReviewType:
		r, err := statement.As(e.Statement, &statement.Review{})
		if err != nil {
			return nil, refuse(CodeStatement, "entry %d: %v", e.Index, err)
		}
		return need(r.Product, "reviewer")
	case statement.RevocationType:
		r, err := statement.As(e.Statement, &statement.Revocation{})
		if err != nil {
			return nil, refuse(CodeStatement, "entry %d: %v", e.Index, err)
		}
		return need(r.Product, "release")
	case statement.ReleaseType:
		return a.believeRelease(e)
	}
	return nil, refuse(CodeStatement, "entry %d is of the unknown kind %s", e.Index, e.Statement.PredicateType)
}

// believeRelease asks for as many different holders of the release role, and as
// many different approvers, as the trusted root demands. Two keys of one holder
// are one.
func (a *Authority) believeRelease(e Entry) ([]Signer, error) {
	r, err := statement.As(e.Statement, &statement.Release{})
	if err != nil {
		return nil, refuse(CodeStatement, "entry %d: %v", e.Index, err)
	}
	by := a.signers(e, "release", r.Product)
	if len(by) == 0 {
		return nil, refuse(CodeSignature, "the release at entry %d is not signed by a key that had the role release for %s there", e.Index, r.Product)
	}
	if need := a.trust.ReleaseHolders(r.Product, e.Index); len(by) < need {
		return nil, refuse(CodeSigners, "the release at entry %d is signed by %d holders of the role release; %d are needed for %s", e.Index, len(by), need, r.Product)
	}
	approvers := a.signers(e, "approver", r.Product)
	if need := a.trust.Root.Clerestory.Approvals; len(approvers) < need {
		return nil, refuse(CodeApprovals, "the release at entry %d is approved by %d different people; %d are needed", e.Index, len(approvers), need)
	}
	return append(by, approvers...), nil
}

// HoldersOf joins the holders of signers with a role: "ada and boris".
func HoldersOf(signers []Signer, role string) string {
	text, n := "", 0
	for _, s := range signers {
		if s.Role != role {
			continue
		}
		if n > 0 {
			text += " and "
		}
		text += s.Holder
		n++
	}
	if n == 0 {
		return fmt.Sprintf("nobody with the role %s", role)
	}
	return text
}
