package statement

import (
	"errors"
	"fmt"
)

// ProgrammeType names programme statements.
const ProgrammeType = "https://clerestory.dev/programme/v1"

// Programme says that the vendor's programme, the rules it binds itself to, is
// from now on the folder with this digest, and what changed. Signed by the role
// "programme". Its one subject is "programme:<Vendor>" with the folder's sha256.
type Programme struct {
	Vendor  string            `json:"vendor"`
	Name    string            `json:"name"`  // the vendor's name as people read it
	Files   map[string]string `json:"files"` // path in the folder -> sha256, hex
	Changes []string          `json:"changes,omitempty"`
	At      string            `json:"at"`
}

// PredicateType implements [Predicate].
func (*Programme) PredicateType() string { return ProgrammeType }

// Validate implements [Predicate].
func (p *Programme) Validate(subject []Subject) error {
	if len(subject) != 1 || subject[0].Name != "programme:"+p.Vendor || subject[0].Digest["sha256"] == "" {
		return errors.New("the subject must be programme:<vendor> with the folder's sha256")
	}
	if len(p.Files) == 0 || len(p.Files) > 400 {
		return errors.New("files must list 1 to 400 files")
	}
	for path, sum := range p.Files {
		if err := firstError(checkText("file name", path, 1), checkHex("files", sum, 32)); err != nil {
			return err
		}
	}
	if len(p.Changes) > 200 {
		return errors.New("changes has more than 200 lines")
	}
	for i, c := range p.Changes {
		if err := checkText(fmt.Sprintf("changes[%d]", i), c, 1); err != nil {
			return err
		}
	}
	return firstError(CheckID("vendor", p.Vendor), checkText("name", p.Name, 1), checkTime("at", p.At))
}
