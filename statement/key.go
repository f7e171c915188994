package statement

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// KeyType names key statements.
const KeyType = "https://clerestory.dev/key/v1"

// Roles are what a key can be trusted for. The TUF root lists the root keys;
// every other key gets its role from a key statement.
var Roles = []string{"approver", "builder", "programme", "rebuilder", "release", "reviewer", "security", "source", "tester"}

// What a key statement does.
const (
	KeyGrant  = "grant"  // from this entry on, the key may sign for the role
	KeyRetire = "retire" // from this entry on it may not sign for the role; what it signed before stands
	KeyRevoke = "revoke" // from entry Since on it is not believed in any role: others may hold it
)

// Key says from which log entry on a key may, or may no longer, sign for a
// role. It is signed by the root threshold. Validity is counted in log
// positions, so it needs no clock. Its one subject is named "key:<KeyID>" and
// has the SHA-256 of the raw public key.
type Key struct {
	Action string `json:"action"` // grant, retire or revoke
	KeyID  string `json:"keyid"`
	Public []byte `json:"publicKey"` // raw: see [PublicKey]
	Role   string `json:"role"`
	// Holder is the programme's id of the person or machine that holds the key,
	// never a person's name or address. Two keys of one holder count once.
	Holder string `json:"holder"`
	// Products are the product ids that the key may sign for; "*" is every one.
	// A retirement or revocation ends the key for all of them.
	Products []string `json:"products"`
	// Since is, for revoke, the first log entry at which the key is not believed.
	Since  int64  `json:"since,omitempty"`
	Reason string `json:"reason,omitempty"` // for retire and revoke
	At     string `json:"at"`
}

// PredicateType implements [Predicate].
func (*Key) PredicateType() string { return KeyType }

// Validate implements [Predicate].
func (k *Key) Validate(subject []Subject) error {
	switch {
	case k.Action != KeyGrant && k.Action != KeyRetire && k.Action != KeyRevoke:
		return fmt.Errorf("action %q must be grant, retire or revoke", clip(k.Action))
	case PublicKey(k.Public).Check() != nil:
		return fmt.Errorf("publicKey: %w", PublicKey(k.Public).Check())
	case k.KeyID != KeyID(k.Public):
		return errors.New("keyid does not belong to publicKey")
	case !slices.Contains(Roles, k.Role):
		return fmt.Errorf("role %q is not one of %v", clip(k.Role), Roles)
	case len(k.Products) == 0 || len(k.Products) > 64:
		return errors.New("products must name 1 to 64 products, or \"*\"")
	case k.Since < 0 || k.Since > 0 && k.Action != KeyRevoke:
		return errors.New("since belongs to a revocation, and is a log entry")
	case k.Action != KeyGrant && k.Reason == "":
		return errors.New("reason is missing: say why the key may no longer sign")
	case len(subject) != 1 || subject[0].Name != KeySubject(k.Public).Name ||
		subject[0].Digest["sha256"] != KeySubject(k.Public).Digest["sha256"]:
		return errors.New("the subject must be the key itself")
	}
	for _, p := range k.Products {
		if p != "*" {
			if err := CheckID("product", p); err != nil {
				return err
			}
		}
	}
	return firstError(CheckID("holder", k.Holder), checkText("reason", k.Reason, 0), checkTime("at", k.At))
}

// KeySubject is the subject of statements about a key.
func KeySubject(public []byte) Subject {
	return Subject{Name: "key:" + KeyID(public), Digest: map[string]string{"sha256": HashOf(public)}}
}

// CheckID checks an identifier of the programme (product, holder, channel): 1 to
// 64 of a-z, 0-9, '.', '_' and '-', not starting with a sign.
func CheckID(field, id string) error {
	ok := len(id) >= 1 && len(id) <= 64
	for i := range len(id) {
		c := id[i]
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		ok = ok && (letter || i > 0 && (c == '.' || c == '_' || c == '-'))
	}
	if !ok {
		return fmt.Errorf("%s %q must be 1 to 64 of a-z, 0-9, '.', '_', '-', starting with a letter or digit", field, clip(id))
	}
	return nil
}

func checkHex(field, s string, lengths ...int) error {
	raw, err := hex.DecodeString(s)
	if err != nil || !slices.Contains(lengths, len(raw)) || hex.EncodeToString(raw) != s {
		return fmt.Errorf("%s must be lower-case hex of its length", field)
	}
	return nil
}
