package signing

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/statement"
)

// Party is a key whose answer counts for whoever asked, and who holds it. An
// empty Holder stands for a holder of that key alone.
type Party struct {
	Public statement.PublicKey
	Holder string
}

// Answer signs a request. An expired one is Stale, one that does not ask this
// key is Denied; show [Describe] to the person first.
func Answer(r *Request, signer statement.Signer, now time.Time) (*Response, error) {
	file, err := r.Format() // judges the payload
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(file)
	if r.Expired(now) {
		return nil, fault.Stale.New("signing: the request expired at %s; ask for a new one", r.Expires)
	}
	if !r.Expired(now.Add(Limits.Life)) {
		return nil, fault.Invalid.New("signing: the request can be answered until %s, which is too long: at most %d days are", r.Expires, int(Limits.Life.Hours()/24))
	}
	if !slices.Contains(r.Keys, signer.KeyID()) {
		return nil, fault.Denied.New("signing: the request does not ask the key %s, but %s", signer.KeyID(), strings.Join(r.Keys, ", "))
	}
	sig, err := signer.Sign(r.Message())
	if err != nil {
		return nil, fault.Unavailable.New("signing with key %s: %w", signer.KeyID(), err)
	}
	return &Response{ResponseType, hex.EncodeToString(sum[:]), signer.KeyID(), sig}, nil
}

// Accept checks one answer to a request: that it belongs to it, that its key is
// asked and is one of parties, which leave out keys that were revoked, and that
// the signature is good.
func Accept(r *Request, a *Response, parties []Party) (statement.Signature, error) {
	_, sig, err := accept(r, a, parties)
	return sig, err
}

func accept(r *Request, a *Response, parties []Party) (holder string, sig statement.Signature, err error) {
	hash, err := r.Hash()
	if err != nil {
		return "", sig, err
	}
	if a.Request != hash {
		return "", sig, fault.Conflict.New("checking a signature: it answers the request %s, not this one (%s)", a.Request, hash)
	}
	i := slices.IndexFunc(parties, func(p Party) bool { return p.Public.ID() == a.KeyID })
	if i < 0 || !slices.Contains(r.Keys, a.KeyID) {
		return "", sig, fault.Denied.New("checking a signature: key %s may not sign this: it was not asked, or it lost its role since", a.KeyID)
	}
	// Cards and other programs give either form of an ECDSA signature.
	public := parties[i].Public
	sig = statement.Signature{KeyID: a.KeyID, Sig: public.Canonical(a.Sig)}
	if !public.Verify(r.Message(), sig.Sig) {
		return "", sig, fault.Tampered.New("checking a signature: it is not key %s's signature over this request", a.KeyID)
	}
	holder = parties[i].Holder
	if holder == "" {
		holder = "key " + a.KeyID
	}
	return holder, sig, nil
}

// Check puts the answers to a request together: one signature for each holder,
// in the order of their key ids. Any answer that is not good fails all, and so do
// fewer different holders than the request's threshold, or an expired request.
func Check(r *Request, answers []*Response, parties []Party, now time.Time) ([]statement.Signature, error) {
	if r.Expired(now) {
		return nil, fault.Stale.New("checking signatures: the request expired at %s; ask for a new one", r.Expires)
	}
	seen := map[string]bool{}
	var sigs []statement.Signature
	for _, a := range answers {
		holder, sig, err := accept(r, a, parties)
		if err != nil {
			return nil, err
		}
		if !seen[holder] {
			seen[holder] = true
			sigs = append(sigs, sig)
		}
	}
	if len(sigs) < r.Threshold {
		return nil, fault.Denied.New("checking signatures: %d different holders have signed; %d are needed", len(sigs), r.Threshold)
	}
	slices.SortFunc(sigs, func(a, b statement.Signature) int { return strings.Compare(a.KeyID, b.KeyID) })
	return sigs, nil
}

// Assemble makes the envelope of a DSSE request from checked answers; other
// signatures over the same payload, such as approvals, may be added to it.
func Assemble(r *Request, answers []*Response, parties []Party, now time.Time) (*statement.Envelope, error) {
	if r.Purpose != DSSE {
		return nil, fault.Invalid.New("putting an envelope together: the request is for %s", r.Purpose)
	}
	sigs, err := Check(r, answers, parties, now)
	if err != nil {
		return nil, err
	}
	return &statement.Envelope{PayloadType: r.PayloadType, Payload: r.Payload, Signatures: sigs}, nil
}
