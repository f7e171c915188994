package statement

import (
	"errors"
	"fmt"
	"strings"
)

// ReleaseType names release statements.
const ReleaseType = "https://clerestory.dev/release/v1"

// Release says that these files are version Version of Product, and that the
// people whose keys signed it approved exactly this text. The envelope carries
// one signature of the role "release" and one per approver.
//
// When Manifest.Files is at most [InlineFiles], the subjects are the files,
// sorted by name. Otherwise the one subject is the manifest itself, and a file
// proves its membership with a path to Manifest.Root.
type Release struct {
	Product  string `json:"product"`
	Version  string `json:"version"`
	Channel  string `json:"channel"`
	Manifest Tree   `json:"manifest"`
	Commit   string `json:"commit"` // the git commit and tree that it was built from
	Tree     string `json:"tree"`
	// Source and Build are the hashes (see [HashOf]) of the statements that the
	// approvers relied on; SBOM describes the bill of materials.
	Source string `json:"source"`
	Build  string `json:"build"`
	SBOM   Digest `json:"sbom"`
	Notes  string `json:"notes,omitempty"` // what changed, for people
	At     string `json:"at"`
	// Emergency says that the release went the emergency path of its rule. Without
	// it the release went the usual way.
	Emergency Emergency `json:"emergency,omitzero"`
}

// Emergency is why a release could not wait, and within how many hours after it
// was said a [Review] of it is due.
type Emergency struct {
	Why         string `json:"why"`
	ReviewHours int64  `json:"reviewHours"`
}

func (e Emergency) validate() error {
	if e == (Emergency{}) {
		return nil
	}
	if e.ReviewHours < 1 || e.ReviewHours > 2160 {
		return errors.New("emergency.reviewHours must be 1 to 2160")
	}
	return checkText("emergency.why", e.Why, 1)
}

// InlineFiles is how many files a release names as subjects at most.
const InlineFiles = 128

// Tree is a list of files as the root of an RFC 6962 tree over its lines.
type Tree struct {
	Files int64  `json:"files"`
	Root  string `json:"root"` // hex
}

// Digest names a file by name, SHA-256 and size in bytes.
type Digest struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// PredicateType implements [Predicate].
func (*Release) PredicateType() string { return ReleaseType }

// Validate implements [Predicate].
func (r *Release) Validate(subject []Subject) error {
	if r.Manifest.Files < 1 {
		return errors.New("manifest.files must be at least 1")
	}
	if r.Manifest.Files <= InlineFiles {
		if int64(len(subject)) != r.Manifest.Files {
			return fmt.Errorf("manifest.files is %d, but there are %d subjects", r.Manifest.Files, len(subject))
		}
		for i, s := range subject {
			if i > 0 && subject[i-1].Name >= s.Name {
				return errors.New("subjects must be sorted by name, each name once")
			}
			if err := CheckFileName(s.Name); err != nil {
				return err
			}
		}
	} else if len(subject) != 1 || subject[0].Digest["sha256"] != r.Manifest.Root {
		return fmt.Errorf("a release of more than %d files has one subject: the manifest's root", InlineFiles)
	}
	for i, s := range subject {
		if s.Digest["sha256"] == "" {
			return fmt.Errorf("subject[%d] must have a sha256", i)
		}
	}
	if r.SBOM.Size < 0 {
		return errors.New("sbom.size must not be negative")
	}
	return firstError(
		CheckID("product", r.Product), CheckVersion(r.Version), CheckID("channel", r.Channel),
		checkHex("manifest.root", r.Manifest.Root, 32),
		checkHex("commit", r.Commit, 20, 32), checkHex("tree", r.Tree, 20, 32),
		checkHex("source", r.Source, 32), checkHex("build", r.Build, 32),
		checkHex("sbom.sha256", r.SBOM.SHA256, 32), CheckFileName(r.SBOM.Name),
		checkText("notes", r.Notes, 0), checkTime("at", r.At), r.Emergency.validate())
}

// CheckFileName checks the relative name of a released file: slash-separated,
// no empty, "." or ".." part, no backslash, colon or control character.
func CheckFileName(name string) error {
	if err := checkText("file name", name, 1); err != nil {
		return err
	}
	bad := len(name) > 512 || strings.ContainsAny(name, "\\:\n\t\"<>|?*")
	for part := range strings.SplitSeq(name, "/") {
		bad = bad || part == "" || part == "." || part == ".." || strings.HasSuffix(part, " ")
	}
	if bad {
		return fmt.Errorf("file name %q must be a plain relative path without \\ : \" < > | ? * or '..'", clip(name))
	}
	return nil
}

// CheckVersion checks a version: 1 to 64 of letters, digits and . _ + ~ -.
func CheckVersion(v string) error {
	ok := len(v) >= 1 && len(v) <= 64
	for i := range len(v) {
		c := v[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || i > 0 && strings.IndexByte("._+~-", c) >= 0)
	}
	if !ok {
		return fmt.Errorf("version %q must be 1 to 64 letters, digits and . _ + ~ -, starting with a letter or digit", clip(v))
	}
	return nil
}
