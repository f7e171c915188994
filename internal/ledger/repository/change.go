package repository

import (
	"context"
	"slices"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/statement"
)

// Publish makes changes and shows them to clients in one call: it stages, lets
// signers answer what they are asked, and assembles. It is for a vendor whose
// keys are at hand, and for the demo; where keys never meet, [Service.Stage]
// gives requests out and [Service.Assemble] takes answers.
func (s *Service) Publish(ctx context.Context, change func(context.Context) error, signers ...statement.Signer) (*Progress, error) {
	if change != nil {
		if err := change(ctx); err != nil {
			return nil, err
		}
	}
	stage, err := s.Stage(ctx)
	if err != nil {
		return nil, err
	}
	if stage == nil {
		done, err := s.Renew(ctx)
		return &Progress{Published: done}, err
	}
	return s.Sign(ctx, stage, signers...)
}

// Sign lets signers answer what they are asked of a stage, and assembles. Too few
// of them are Denied; what they signed is kept.
func (s *Service) Sign(ctx context.Context, stage *Stage, signers ...statement.Signer) (*Progress, error) {
	var answers []*signing.Response
	for _, d := range stage.Documents {
		q, err := signing.ParseRequest(d.Request)
		if err != nil {
			return nil, err
		}
		for _, k := range signers {
			if !slices.Contains(q.Keys, k.KeyID()) {
				continue
			}
			a, err := signing.Answer(q, k, s.now())
			if err != nil {
				return nil, err
			}
			answers = append(answers, a)
		}
	}
	p, err := s.Assemble(ctx, answers...)
	if err != nil {
		return nil, err
	}
	if len(p.Waiting) > 0 {
		w := p.Waiting[0]
		return p, fault.Denied.New("publishing: %s has %d of %d signatures; it waits for the others", w.Role, w.Have, w.Need)
	}
	if !p.Published {
		return p, fault.Denied.New("publishing: all is signed, but the online key is not here to date it")
	}
	return p, nil
}
