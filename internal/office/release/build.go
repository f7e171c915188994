package release

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/statement"
)

// BuildRun is one run of a builder: what it was asked for, and what it made.
type BuildRun struct {
	Source     Source
	Builder    string            // URI of the build platform
	Invocation string            // which run
	Parameters map[string]string // what the caller chose: package, flags, target
	Toolchain  map[string]string // what the platform added: the compiler's version
	Started    time.Time
	Finished   time.Time
	Files      []File // what came out
}

// SayBuild states the provenance of files as SLSA provenance v1, signed by the
// builder or a rebuilder.
func (s *Service) SayBuild(ctx context.Context, run BuildRun, signer statement.Signer) (Said, error) {
	external, err := object(run.Parameters)
	if err != nil {
		return Said{}, fmt.Errorf("encoding the build's parameters: %w", err)
	}
	internal, err := object(run.Toolchain)
	if err != nil {
		return Said{}, fmt.Errorf("encoding the build's toolchain: %w", err)
	}
	var subject []statement.Subject
	for _, f := range run.Files {
		subject = append(subject, statement.Subject{Name: f.Name, Digest: map[string]string{"sha256": f.SHA256}})
	}
	payload, err := statement.New(subject, &statement.Build{
		BuildDefinition: statement.BuildDefinition{
			BuildType: statement.BuildRecipe, ExternalParameters: external, InternalParameters: internal,
			ResolvedDependencies: []statement.Resource{{
				URI:    "git+" + run.Source.Repository,
				Digest: map[string]string{"gitCommit": run.Source.Commit, "gitTree": run.Source.Tree},
			}},
		},
		RunDetails: statement.RunDetails{
			Builder: statement.Builder{ID: run.Builder},
			Metadata: statement.BuildMetadata{
				InvocationID: run.Invocation,
				StartedOn:    run.Started.UTC().Format(time.RFC3339), FinishedOn: run.Finished.UTC().Format(time.RFC3339),
			},
		},
	})
	if err != nil {
		return Said{}, fault.Invalid.New("stating the build: %w", err)
	}
	return s.sayOnce(ctx, payload, signer)
}

// object is m as a JSON object; SLSA wants one even where there is nothing to say.
func object(m map[string]string) ([]byte, error) {
	if m == nil {
		m = map[string]string{}
	}
	return json.Marshal(m)
}
