package statement

import (
	"encoding/json"
	"errors"
	"fmt"
)

// BuildType is SLSA provenance v1: how something was built.
const BuildType = "https://slsa.dev/provenance/v1"

// BuildRecipe is the buildType URI of a build with the Go toolchain from a git
// commit; its parameters are in docs/spec/build.md.
const BuildRecipe = "https://clerestory.dev/buildtype/go/v1"

// Build is a SLSA provenance v1 predicate (slsa.dev/spec/v1.0/provenance), the
// members that are read here; others are kept in the statement. Signed by the
// role "builder", or "rebuilder" when somebody repeats the build.
type Build struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition says what went in.
type BuildDefinition struct {
	BuildType            string          `json:"buildType"`
	ExternalParameters   json.RawMessage `json:"externalParameters"`
	InternalParameters   json.RawMessage `json:"internalParameters,omitempty"`
	ResolvedDependencies []Resource      `json:"resolvedDependencies,omitempty"`
}

// Resource is an in-toto ResourceDescriptor.
type Resource struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

// RunDetails says who built, and when.
type RunDetails struct {
	Builder  Builder       `json:"builder"`
	Metadata BuildMetadata `json:"metadata,omitzero"`
}

// Builder names the build platform.
type Builder struct {
	ID string `json:"id"`
}

// BuildMetadata says which run it was.
type BuildMetadata struct {
	InvocationID string `json:"invocationId,omitempty"`
	StartedOn    string `json:"startedOn,omitempty"`
	FinishedOn   string `json:"finishedOn,omitempty"`
}

// PredicateType implements [Predicate].
func (*Build) PredicateType() string { return BuildType }

// Validate implements [Predicate].
func (b *Build) Validate(subject []Subject) error {
	d := b.BuildDefinition
	if len(d.ExternalParameters) == 0 || d.ExternalParameters[0] != '{' {
		return errors.New("buildDefinition.externalParameters must be an object")
	}
	for i, s := range subject {
		if s.Digest["sha256"] == "" {
			return fmt.Errorf("subject[%d] must have a sha256", i)
		}
	}
	for i, r := range d.ResolvedDependencies {
		for alg, v := range r.Digest {
			if err := checkDigest(alg, v); err != nil {
				return fmt.Errorf("resolvedDependencies[%d]: %w", i, err)
			}
		}
	}
	err := firstError(checkText("buildDefinition.buildType", d.BuildType, 1), checkText("runDetails.builder.id", b.RunDetails.Builder.ID, 1))
	m := b.RunDetails.Metadata
	if m.StartedOn != "" {
		err = firstError(err, checkTime("startedOn", m.StartedOn))
	}
	if m.FinishedOn != "" {
		err = firstError(err, checkTime("finishedOn", m.FinishedOn))
	}
	return err
}

// Commit is the git commit that was built: the first resolved dependency that
// has one, or "".
func (b *Build) Commit() string {
	for _, r := range b.BuildDefinition.ResolvedDependencies {
		if c := r.Digest["gitCommit"]; c != "" {
			return c
		}
	}
	return ""
}
