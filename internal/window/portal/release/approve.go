package release

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/gate/passkey"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/internal/ledger/signing"
	office "clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/statement"
)

// Touches asks a person's passkey about one deed; *passkey.Service is one.
type Touches interface {
	// AsksTouch tells whether the person has a passkey to be asked.
	AsksTouch(passkey.Person) bool
	// Touch spends the browser's answer. Afterwards it is gone, good or bad.
	Touch(ctx context.Context, actor passkey.Person, action, object, answer string) error
}

// Keys are the key files that the vendor keeps for its people; *keyring.Ring is
// one. Calls may be concurrent; Unlock takes about a second and much memory.
type Keys interface {
	List() ([]keyring.Public, error)
	Unlock(name string, passphrase []byte) (*keyring.Key, error)
}

// unlocking lets one key be unlocked at a time: each takes 256 MB for a second.
var unlocking sync.Mutex

// Ways to approve, as the form names them.
const (
	byAnswer = "answer" // a signing response, made where the key is
	byKey    = "key"    // the key file that the vendor keeps
)

const approveAction = "release:approve"

// approveObject is what a touch and the policies are asked about: the version
// and, for the touch, the exact bytes.
func approveObject(rel *office.Release) string {
	return "release:" + rel.Statement.Product + "/" + rel.Statement.Version
}

func touchObject(rel *office.Release) string { return approveObject(rel) + "@" + rel.PayloadHash }

// desk is where a person approves: what the form needs, and what was wrong.
type desk struct {
	Allowed  bool   // the policies permit it
	Why      string // when not, or when nothing can be signed: one sentence
	Who      string // who could instead
	Keys     []string
	KeyFile  string // name of the person's key file here, if there is one
	Asks     bool   // a touch is asked
	Action   string
	Object   string
	way      string
	answer   *frame.Field
	secret   *frame.Field
	whole    *frame.Field // what is wrong with no single field
	problems []*frame.Field
}

func newDesk() *desk {
	return &desk{way: byAnswer,
		answer: &frame.Field{Name: "answer", Label: "Signing response", Hint: "the file that clerestory sign wrote", Kind: "file"},
		secret: &frame.Field{Name: "passphrase", Label: "Passphrase of your key", Kind: "password", Auto: "off"},
		whole:  &frame.Field{Name: "approve", Label: "Approval"}}
}

// desk tells whether and how the visitor can approve a proposal; nil when the
// portal takes no approvals.
func (m *Room) desk(r *frame.Request, rel *office.Release) (*desk, error) {
	if m.Touches == nil || rel.State.Said() || !r.Visitor.SignedIn() {
		return nil, nil
	}
	d := newDesk()
	d.Asks, d.Action, d.Object = m.Touches.AsksTouch(r.Visitor.Person), approveAction, touchObject(rel)
	who := r.Visitor.ID
	decision := m.Guard.Decide(r.Visitor.Person, approveAction, approveObject(rel), nil)
	var err error
	if d.Keys, err = m.keysOf(r.Ctx(), rel.Statement.Product, who); err != nil {
		return nil, err
	}
	needs, err := m.Office.Missing(r.Ctx(), rel)
	if err != nil {
		return nil, err
	}
	able := approvalsBy(needs) // somebody whose approval ran out is among them again
	d.Who = and(slices.DeleteFunc(slices.Clone(able), func(h string) bool { return h == who }))
	switch {
	case rel.ProposedBy == who:
		d.Why = "You proposed it, and nobody approves their own proposal."
	case slices.ContainsFunc(rel.Approvals, func(a office.Approval) bool { return a.Holder == who }) && !slices.Contains(able, who):
		d.Why = "You have approved exactly this text already."
	case blocked(needs) != "":
		d.Why = blocked(needs)
	case !decision.Allowed:
		d.Why = "You may not approve it: " + decision.Reason + "."
	case len(d.Keys) == 0:
		d.Why = "No key of yours has the role approver for " + rel.Statement.Product + " in the log. An admin states that with clerestory key create and the root keys."
	default:
		d.Allowed = true
	}
	d.KeyFile, err = m.keyFile(d.Keys)
	if d.KeyFile != "" {
		d.way = byKey
	}
	return d, err
}

// keysOf are the ids of a person's keys that may approve a product.
func (m *Room) keysOf(ctx context.Context, product, person string) ([]string, error) {
	states, err := keyring.States(ctx, m.Read.DB)
	if err != nil {
		return nil, err
	}
	var own []string
	for _, st := range states {
		covers := slices.Contains(st.Key.Products, product) || slices.Contains(st.Key.Products, "*")
		if st.Active && st.Key.Role == "approver" && st.Key.Holder == person && covers {
			own = append(own, st.Key.KeyID)
		}
	}
	slices.Sort(own)
	return own, nil
}

// keyFile finds the file of one of these keys that a passphrase opens.
func (m *Room) keyFile(ids []string) (string, error) {
	if m.Keys == nil || len(ids) == 0 {
		return "", nil
	}
	all, err := m.Keys.List()
	if err != nil {
		return "", err
	}
	for _, k := range all {
		if k.Agent == "" && slices.Contains(ids, k.KeyID) {
			return k.Name, nil
		}
	}
	return "", nil
}

// request is the file that a person takes to the own key. It is a function of
// the proposal, the keys and the week, so that nothing has to be kept: an answer
// counts for this week's request and last week's.
func (m *Room) request(r *frame.Request) (*frame.Answer, error) {
	rel, err := m.find(r)
	if err != nil {
		return nil, err
	}
	if rel.State.Said() {
		return nil, fault.Conflict.New("%s %s is %s: there is nothing to approve", rel.Statement.Product, rel.Statement.Version, rel.State)
	}
	if d := m.Guard.Decide(r.Visitor.Person, approveAction, approveObject(rel), nil); !d.Allowed {
		return nil, fault.Denied.New("%s is not allowed: %s", approveAction, d.Reason)
	}
	keys, err := m.keysOf(r.Ctx(), rel.Statement.Product, r.Visitor.ID)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, fault.Denied.New("no key of yours has the role approver for %s in the log", rel.Statement.Product)
	}
	file, err := requests(rel, keys, r.Now)[0].Format()
	if err != nil {
		return nil, err
	}
	return &frame.Answer{Bytes: file, Type: signing.RequestType, Name: rel.Statement.Product + "-" + rel.Statement.Version + ".request.json"}, nil
}

// requests are the requests of which an answer counts, the one to hand out first.
func requests(rel *office.Release, keys []string, now time.Time) []*signing.Request {
	const week = 7 * 24 * time.Hour
	var all []*signing.Request
	for i := 2; i >= 1; i-- {
		all = append(all, &signing.Request{Purpose: signing.DSSE, PayloadType: statement.PayloadType, Payload: rel.Payload, Keys: keys, Threshold: 1,
			What:    fmt.Sprintf("Approve %s %s for the channel %s", rel.Statement.Product, rel.Statement.Version, rel.Statement.Channel),
			Expires: now.UTC().Truncate(week).Add(time.Duration(i) * week).Format(time.RFC3339)})
	}
	return all
}

// approve takes an approval. The order matters: what the form lacks costs no
// touch; without a touch no passphrase is tried; and nothing is signed that the
// person was not asked about, byte for byte.
func (m *Room) approve(r *frame.Request) (*frame.Answer, error) {
	rel, err := m.find(r)
	if err != nil {
		return nil, err
	}
	d, err := m.desk(r, rel)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, fault.Conflict.New("%s %s is %s: there is nothing to approve", rel.Statement.Product, rel.Statement.Version, rel.State)
	}
	if err := m.Guard.Allow(r.Ctx(), r.Visitor.Person, approveAction, approveObject(rel), nil); err != nil {
		return nil, err
	}
	do, err := m.deed(r, rel, d)
	if err == nil && do != nil {
		err = do(r.Ctx())
	}
	if err == nil && len(frame.Problems(d.answer, d.secret, d.whole)) == 0 {
		return &frame.Answer{SeeOther: path(rel.Statement.Product, rel.Statement.Version) + "#approvals"}, nil
	}
	status := http.StatusBadRequest
	if err != nil {
		kind := fault.KindOf(err)
		if fault.IsInternal(err) {
			return nil, err
		}
		status, d.whole.Problem = kind.Status, sentence(err.Error())
	}
	d.problems = frame.Problems(d.whole, d.answer, d.secret)
	a, err := m.answer(r, rel, d)
	if a != nil {
		a.Status, a.Fields = status, d.problems
	}
	return a, err
}

// deed is what adds the approval.
type deed func(context.Context) error

// deed reads the form and asks for the touch. It is nil when a field had a
// problem; an error is about the whole.
func (m *Room) deed(r *frame.Request, rel *office.Release, d *desk) (deed, error) {
	d.way = cmp.Or(r.PostFormValue("way"), d.way) // reads the form, files too
	if hash := r.PostFormValue("hash"); hash != rel.PayloadHash {
		return nil, fault.Stale.New("the proposal is not the one that you looked at: look again; its hash is now %s", rel.PayloadHash)
	}
	if d.Why != "" {
		return nil, fault.Denied.New("%s", d.Why)
	}
	var given deed
	if d.way == byKey {
		d.secret.Value = r.PostFormValue("passphrase")
		defer func() { d.secret.Value = "" }() // a page never holds it
		switch {
		case d.KeyFile == "":
			d.secret.Problem = "No key file of yours is kept here. Use a signing response."
		case d.secret.Value == "":
			d.secret.Problem = "Write the passphrase of your key " + d.KeyFile + "."
		}
	} else {
		given = m.readAnswer(r, rel, d)
	}
	if len(frame.Problems(d.answer, d.secret)) > 0 {
		return nil, nil
	}
	if err := m.Touches.Touch(r.Ctx(), r.Visitor.Person, d.Action, d.Object, r.PostFormValue("touch")); err != nil {
		return nil, err
	}
	if given != nil {
		return given, nil
	}
	unlocking.Lock()
	defer unlocking.Unlock()
	key, err := m.Keys.Unlock(d.KeyFile, []byte(d.secret.Value))
	if errors.Is(err, fault.Denied) {
		d.secret.Problem = "This passphrase does not open your key " + d.KeyFile + "."
		return nil, nil
	}
	return m.signing(rel, key), err
}

// signing signs the text that the person saw.
func (m *Room) signing(rel *office.Release, key statement.Signer) deed {
	return func(ctx context.Context) error {
		_, err := m.Office.Approve(ctx, rel.Statement.Product, rel.Statement.Version, rel.PayloadHash, key)
		return err
	}
}

// readAnswer checks an uploaded signing response against the requests that this
// person could have got here. One to a request that the command line made is for
// the office to judge, if it is by the person's own key.
func (m *Room) readAnswer(r *frame.Request, rel *office.Release, d *desk) deed {
	text, err := upload(r, "answer")
	if err != nil || len(text) == 0 {
		d.answer.Problem = "Choose the signing response that clerestory sign wrote."
		return nil
	}
	a, err := signing.ParseResponse(text)
	if err != nil {
		d.answer.Problem = sentence(err.Error())
		return nil
	}
	states, err := keyring.States(r.Ctx(), m.Read.DB)
	if err != nil {
		d.answer.Problem = "Who may sign can not be read now; try again."
		return nil
	}
	var parties []signing.Party
	for _, st := range states {
		if slices.Contains(d.Keys, st.Key.KeyID) && st.Active {
			parties = append(parties, signing.Party{Public: statement.PublicKey(st.Key.Public), Holder: st.Key.Holder})
		}
	}
	for _, q := range requests(rel, d.Keys, r.Now) {
		if hash, err := q.Hash(); err != nil || hash != a.Request {
			continue
		}
		sig, err := signing.Accept(q, a, parties)
		if err != nil {
			d.answer.Problem = sentence(err.Error())
			return nil
		}
		return m.signing(rel, signed{sig})
	}
	if !slices.Contains(d.Keys, a.KeyID) {
		d.answer.Problem = "It is by another key than yours: everybody approves in the own name."
		return nil
	}
	return func(ctx context.Context) error {
		_, err := m.Office.Assemble(ctx, rel.Statement.Product, rel.Statement.Version, []*signing.Response{a})
		return err
	}
}

// signed is a key that has signed already: it answers with what it gave.
type signed struct{ sig statement.Signature }

func (s signed) KeyID() string               { return s.sig.KeyID }
func (s signed) Sign([]byte) ([]byte, error) { return s.sig.Sig, nil }

func upload(r *frame.Request, name string) ([]byte, error) {
	file, _, err := r.FormFile(name)
	if err != nil {
		return nil, err
	}
	defer func(f multipart.File) { f.Close() }(file)
	return io.ReadAll(io.LimitReader(file, int64(signing.Limits.Response)+1))
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.ContainsAny(s[len(s)-1:], ".!?") {
		s += "."
	}
	return s
}
