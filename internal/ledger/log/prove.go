package log

import (
	"context"

	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/tile"
)

// Proof proves that statement n is in the log's state with this checkpoint: the
// inclusion proof's hashes, and all of it as a C2SP tlog-proof. Both were checked
// against the statement in the outbox.
func (w *Writer) Proof(ctx context.Context, n int64, checkpoint []byte) (hashes []tlog.Hash, text []byte, err error) {
	c, err := w.policy.Open(checkpoint)
	if err != nil {
		return nil, nil, fault.Invalid.New("proving statement %d: %w", n, err)
	}
	said, err := w.cfg.DB.SaidAt(ctx, n)
	if err != nil {
		return nil, nil, err
	}
	p, err := tile.Prove(ctx, w.files, c, n, said.Envelope)
	if err != nil {
		return nil, nil, err
	}
	return p.Hashes, p.Format(), nil
}
