package update

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// refusal says in our words why go-tuf did not believe a role's file.
func (r *repository) refusal(role string, file []byte, err error) error {
	name := role + ".json"
	if _, ok := errors.AsType[*metadata.ErrExpiredMetadata](err); ok {
		if role == metadata.TIMESTAMP || role == metadata.SNAPSHOT {
			return refuse(Freeze, "%s expired on %s and it is %s: the mirror stands still, or the vendor has stopped (or this machine's clock is ahead)", name, date(expiry(file)), date(r.tuf.RefTime))
		}
		return refuse(RoleExpired, "the authority of %s expired on %s and it is %s", name, date(expiry(file)), date(r.tuf.RefTime))
	}
	if _, ok := errors.AsType[*metadata.ErrBadVersionNumber](err); ok {
		_, detail, _ := strings.Cut(err.Error(), ": ")
		return refuse(Rollback, "%s is older than what this client has seen, or skips a version: %s", name, detail)
	}
	if _, ok := errors.AsType[*metadata.ErrLengthOrHashMismatch](err); ok {
		return refuse(MixAndMatch, "%s is not the file that the repository's index names: parts of different states were mixed", name)
	}
	if _, ok := errors.AsType[*metadata.ErrUnsignedMetadata](err); ok {
		return r.unsigned(role, file)
	}
	switch text := err.Error(); {
	case strings.Contains(text, "multiple signatures"):
		return refuse(SameKeyTwice, "%s is signed twice by one key: that counts once, and is no accident", name)
	case strings.Contains(text, "no delegation found"):
		return refuse(RoleRevoked, "nobody delegates to the role %s any more", role)
	case strings.Contains(text, "missing info"):
		return refuse(Rollback, "%s has forgotten a role that this client has seen: %w", name, err)
	}
	return refuse(Malformed, "%s can not be read: %w", name, err)
}

// unsigned says why a file's signatures do not do.
func (r *repository) unsigned(role string, file []byte) error {
	var f struct {
		Signatures []metadata.Signature `json:"signatures"`
	}
	if err := json.Unmarshal(file, &f); err != nil {
		return refuse(Malformed, "%s.json can not be read: %w", role, err)
	}
	keys, now, threshold := r.signersOf(role)
	public := map[string]bool{}
	for _, s := range f.Signatures {
		k := keys[s.KeyID]
		if k != nil && public[k.Value.PublicKey] {
			return refuse(SameKeyTwice, "%s.json is signed twice by one key under two names: that counts once", role)
		}
		if k != nil {
			public[k.Value.PublicKey] = true
		}
	}
	for _, s := range f.Signatures {
		if r.former[role][s.KeyID] && !slices.Contains(now, s.KeyID) {
			return refuse(RoleRevoked, "%s.json is signed by key %.12s…, which the vendor has taken away from that role", role, s.KeyID)
		}
	}
	return refuse(TooFewSigned, "%s.json does not have the %d good signatures that it needs by keys that may sign it", role, threshold)
}

// signersOf says which keys may sign a role's file, as far as it is loaded.
func (r *repository) signersOf(role string) (keys map[string]*metadata.Key, ids []string, threshold int) {
	if x, ok := r.tuf.Root.Signed.Roles[role]; ok {
		return r.tuf.Root.Signed.Keys, x.KeyIDs, x.Threshold
	}
	for _, t := range r.tuf.Targets {
		if d := t.Signed.Delegations; d != nil {
			for _, x := range d.Roles {
				if x.Name == role {
					return d.Keys, x.KeyIDs, x.Threshold
				}
			}
		}
	}
	return nil, nil, 1
}

// expiry reads when a file that was verified runs out.
func expiry(file []byte) (at time.Time) {
	var f struct {
		Signed struct {
			Expires time.Time `json:"expires"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(file, &f); err == nil {
		at = f.Signed.Expires
	}
	return at
}
