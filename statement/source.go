package statement

import "errors"

// SourceType names source statements.
const SourceType = "https://clerestory.dev/source/v1"

// Source says that a git commit with this tree is source code that the vendor
// publishes. Signed by the role "source". Its one subject is named by Repository
// and has the digests gitCommit and gitTree.
type Source struct {
	Product    string `json:"product"`
	Repository string `json:"repository"` // where it can be read: a URL or a name
	Commit     string `json:"commit"`     // git object name, SHA-1 or SHA-256, hex
	Tree       string `json:"tree"`
	Files      int64  `json:"files"` // entries in the tree, recursively
	At         string `json:"at"`
}

// PredicateType implements [Predicate].
func (*Source) PredicateType() string { return SourceType }

// Validate implements [Predicate].
func (s *Source) Validate(subject []Subject) error {
	if len(subject) != 1 || subject[0].Name != s.Repository ||
		subject[0].Digest["gitCommit"] != s.Commit || subject[0].Digest["gitTree"] != s.Tree {
		return errors.New("the subject must be the repository with its gitCommit and gitTree")
	}
	if s.Files < 0 {
		return errors.New("files must not be negative")
	}
	return firstError(
		CheckID("product", s.Product), checkText("repository", s.Repository, 1),
		checkHex("commit", s.Commit, 20, 32), checkHex("tree", s.Tree, 20, 32), checkTime("at", s.At))
}
