// Package witness is a C2SP tlog-witness: it cosigns the checkpoints of the
// logs that it knows, and never two that contradict each other.
//
// It promises: a cosignature says that the tree has only grown since the last
// one; what it cosigned is on the disk before the answer leaves; after a crash
// at any point it stands at, or after, the last answer that it gave. It refuses
// unknown logs, checkpoints that the log did not sign, forks, shrinks, proofs
// that do not hold, requests outside its [Limits], a state folder that another
// process uses, and state that its own key did not sign.
//
// It does not fetch from logs, and it cannot know that somebody put an old copy
// of its folder back: a witness whose folder is lost or restored needs a new
// key. docs/spec/witness.md has the numbered checks.
//
// Start at [New] and [Witness.Handler]; [MakeKey] and [ReadKey] are for keys.
package witness

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"clerestory.dev/clerestory/internal/base/crash"
	"clerestory.dev/clerestory/internal/base/fault"
)

// Config is what a witness needs. All fields but Limits and Logger are required.
type Config struct {
	// Dir keeps the last checkpoint of each log. It is made when it is missing.
	// It belongs to one process and to one key; a copy of it must never be used
	// to go back, or the witness contradicts itself.
	Dir string
	Key *Key
	// Logs are the Ed25519 vkeys of the logs; a key's name is the log's origin.
	// Two keys with one name are one log that changes its key.
	Logs   []string
	Clock  func() time.Time
	Limits Limits       // zero fields take their value from DefaultLimits
	Logger *slog.Logger // default: slog.Default()
}

// Limits are the caps on what a stranger may send.
type Limits struct {
	Body       int64 // bytes of a request
	ProofLines int   // the specification's 63
	Origin     int   // bytes of an origin line
	// TreeSize is the largest tree. Above 1<<62 the arithmetic of Merkle proofs
	// in int64 would not end.
	TreeSize int64
}

// DefaultLimits fit checkpoints with a dozen post-quantum cosignatures.
func DefaultLimits() Limits {
	return Limits{Body: 64 << 10, ProofLines: 63, Origin: 255, TreeSize: 1 << 62}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.Body <= 0 {
		l.Body = d.Body
	}
	if l.ProofLines <= 0 {
		l.ProofLines = d.ProofLines
	}
	if l.Origin <= 0 {
		l.Origin = d.Origin
	}
	if l.TreeSize <= 0 || l.TreeSize > d.TreeSize {
		l.TreeSize = d.TreeSize
	}
	return l
}

// Witness is an open witness. Its methods may be called concurrently.
type Witness struct {
	key    *Key
	clock  func() time.Time
	limits Limits
	logger *slog.Logger
	folder *folder
	logs   map[string]*knownLog // by origin; the map itself never changes

	open   sync.RWMutex // held for reading by work in progress
	closed bool
}

// knownLog is a log and where it stood. mu makes "compare with the last
// checkpoint, then replace it" one step (tlog-witness, the race at the end of
// add-checkpoint).
type knownLog struct {
	origin string
	id     string // hex SHA-256 of the origin: file name and address
	keys   note.Verifiers

	mu     sync.Mutex
	last   record
	forked bool // the log signed two trees of one size; the proof is on the disk
}

// New opens the witness's folder and checks what lies there.
func New(c Config) (*Witness, error) {
	if c.Key == nil || c.Clock == nil || c.Dir == "" || len(c.Logs) == 0 {
		return nil, fault.Invalid.New("a witness needs a state folder, a key, a clock and at least one log")
	}
	w := &Witness{key: c.Key, clock: c.Clock, limits: c.Limits.orDefault(), logger: c.Logger}
	if w.logger == nil {
		w.logger = slog.Default()
	}
	var err error
	if w.logs, err = readLogs(c.Logs, c.Key, w.limits); err != nil {
		return nil, err
	}
	if w.folder, err = openFolder(c.Dir); err != nil {
		return nil, err
	}
	for _, l := range w.logs {
		if err := w.recall(l); err != nil {
			w.folder.close()
			return nil, err
		}
	}
	return w, nil
}

// readLogs groups the vkeys by origin.
func readLogs(vkeys []string, own *Key, limits Limits) (map[string]*knownLog, error) {
	byOrigin := map[string][]note.Verifier{}
	for i, vkey := range vkeys {
		v, err := note.NewVerifier(vkey)
		if err != nil {
			return nil, fault.Invalid.New("log key %d (%.80q) is not an Ed25519 vkey: %w", i+1, vkey, err)
		}
		if len(v.Name()) > limits.Origin {
			return nil, fault.Invalid.New("log key %d: its origin is longer than %d bytes", i+1, limits.Origin)
		}
		same := func(o note.Verifier) bool { return o.KeyHash() == v.KeyHash() }
		if slices.ContainsFunc(byOrigin[v.Name()], same) {
			return nil, fault.Invalid.New("log key %s is given twice", vkey)
		}
		if own.public().Equal(publicOf(vkey)) {
			return nil, fault.Invalid.New("log %q has the witness's own key: a log cannot be its own witness", v.Name())
		}
		byOrigin[v.Name()] = append(byOrigin[v.Name()], v)
	}
	logs := map[string]*knownLog{}
	for origin, keys := range byOrigin {
		logs[origin] = &knownLog{origin: origin, id: idOf(origin), keys: note.VerifierList(keys...)}
	}
	return logs, nil
}

// recall takes up where the witness stood. The state is believed only with the
// witness's own cosignature, so a changed file cannot turn it back unnoticed.
func (w *Witness) recall(l *knownLog) error {
	raw, err := w.folder.read(checkpointName(l.id), 2*w.limits.Body)
	if err != nil || raw == nil {
		return err
	}
	last, err := openRecord(raw, l.origin, w.key, w.limits)
	if err != nil {
		return fault.Tampered.New("state of log %q in %s is not what this witness key cosigned: %w",
			l.origin, w.folder.path(checkpointName(l.id)), err)
	}
	l.last = last
	l.forked, err = w.folder.has(forkName(l.id))
	return err
}

// add is add-checkpoint: it answers a request body with a cosignature line.
func (w *Witness) add(body []byte) ([]byte, error) {
	w.open.RLock()
	defer w.open.RUnlock()
	if w.closed {
		return nil, fault.Unavailable.New("the witness is shutting down")
	}
	s, l, err := w.receive(body)
	if err != nil {
		return nil, err
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if err := judge(s.request, s.checkpoint, l.last); err != nil {
		if errors.Is(err, errFork) {
			w.keepFork(l, s)
		}
		return nil, err
	}
	line, err := w.key.cosign(s.text, w.clock())
	if err != nil {
		return nil, err
	}
	next := record{size: s.checkpoint.size, root: s.checkpoint.root, note: joinNote(s.text, s.logSigs, line)}
	// The disk may hold next although write failed. That is safe: nobody got its
	// cosignature, and what follows in memory grows from the last one given out.
	if err := w.folder.write(checkpointName(l.id), next.note); err != nil {
		return nil, fmt.Errorf("keeping checkpoint %d of log %q: %w", next.size, l.origin, err)
	}
	crash.Point("witness.kept")
	l.last = next
	return line, nil
}

// receive parses a request and finds the log that signed it.
func (w *Witness) receive(body []byte) (submission, *knownLog, error) {
	s, err := parseSubmission(body, w.limits)
	if err != nil {
		return submission{}, nil, err
	}
	l := w.logs[s.checkpoint.origin]
	if l == nil {
		return submission{}, nil, fault.NotFound.New("this witness does not know the log %q", s.checkpoint.origin)
	}
	if s.logSigs, err = checkSignatures(s.request.note, l.keys); err != nil {
		return submission{}, nil, err
	}
	return s, l, nil
}

// keepFork keeps the log's own two signatures on contradicting trees: that is
// proof against the log, and nobody else could have made it. The first proof is
// enough; more would let a misbehaving log fill the disk.
func (w *Witness) keepFork(l *knownLog, s submission) {
	w.logger.Error("log signed two different trees of one size", "origin", l.origin,
		"size", s.checkpoint.size, "cosigned", l.last.root, "refused", s.checkpoint.root)
	if l.forked {
		return
	}
	proof := slices.Concat(l.last.note, []byte("\n"), joinNote(s.text, s.logSigs))
	if err := w.folder.write(forkName(l.id), proof); err != nil {
		w.logger.Error("fork proof is not kept", "origin", l.origin, "error", err)
		return
	}
	l.forked = true
}

// latest is the last cosigned checkpoint of a log by id, or nil.
func (w *Witness) latest(id string) []byte {
	for _, l := range w.logs {
		if l.id == id {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.last.note
		}
	}
	return nil
}

// Close waits for requests in progress and gives the folder free.
func (w *Witness) Close() error {
	w.open.Lock()
	defer w.open.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	return w.folder.close()
}
