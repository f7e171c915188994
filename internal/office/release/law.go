package release

import (
	"context"
	"errors"
	"slices"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// law is what holds for a release at one moment: its rule, the people and keys,
// the gates. Reviews, approvals and signatures are weighed by it.
type law struct {
	now       time.Time
	at        int64 // the log position that it was read at
	rule      programme.Rule
	people    map[string]programme.Person // by id; nil when no programme is in force
	trust     *verify.Trust
	authority *verify.Authority
	accounts  *accounts
	approvers []statement.Key
	releasers []statement.Key
	gates     []Gate
}

// lawOf reads what holds for a release now.
func (s *Service) lawOf(ctx context.Context, rel *Release) (*law, error) {
	l, err := s.lawFor(ctx, rel.Statement.Product, rel.Statement.Channel)
	if err != nil {
		return nil, err
	}
	if rel.Emergency() && !rel.State.Said() {
		if !l.rule.Emergency.Allowed() {
			return nil, fault.Denied.New("%s has no emergency path on channel %s", rel.Statement.Product, rel.Statement.Channel)
		}
		l.rule.Approvals, l.rule.Gates = l.rule.Emergency.Approvals, l.rule.Emergency.Gates
		l.rule.Windows = programme.Windows{}
	}
	l.gates, err = s.gates(ctx, l, rel)
	return l, err
}

// lawFor reads what holds for releases of a channel, whichever they are. Where no
// programme is in force, the root of trust alone says how many must approve.
func (s *Service) lawFor(ctx context.Context, product, channel string) (*law, error) {
	l := &law{now: s.Now()}
	var err error
	if l.at, err = s.DB.Next(ctx); err != nil {
		return nil, err
	}
	if l.trust, err = s.trust(); err != nil {
		return nil, err
	}
	if l.authority, err = keyring.Authority(ctx, s.DB, l.trust); err != nil {
		return nil, err
	}
	if l.accounts, err = readAccounts(ctx, s.DB); err != nil {
		return nil, err
	}
	l.approvers = l.authority.KeysFor("approver", product, l.at)
	l.releasers = l.authority.KeysFor("release", product, l.at)
	prog, err := programme.Current(ctx, s.DB)
	switch {
	case errors.Is(err, fault.NotFound):
		l.rule = programme.Rule{Approvals: []programme.Quorum{{Count: l.trust.Root.Clerestory.Approvals, Roles: []string{programme.Approver}}}}
	case err != nil:
		return nil, err
	default:
		rule, ok := prog.RuleFor(product, channel)
		if !ok {
			return nil, fault.Invalid.New("the programme has no product %q with channel %q", product, channel)
		}
		l.rule, l.people = rule, map[string]programme.Person{}
		for _, p := range prog.People {
			l.people[p.ID] = p
		}
	}
	l.rule.Signatures = max(l.rule.Signatures, 1, l.trust.ReleaseHolders(product, l.at))
	return l, nil
}

// person is who stands behind a holder: without a programme, an approver.
func (l *law) person(holder string) (programme.Person, bool) {
	if l.people == nil {
		return programme.Person{ID: holder, Roles: []string{programme.Approver}}, true
	}
	p, ok := l.people[holder]
	return p, ok
}

// key finds a key among those that have a role.
func key(keys []statement.Key, id string) (statement.Key, bool) {
	i := slices.IndexFunc(keys, func(k statement.Key) bool { return k.KeyID == id })
	if i < 0 {
		return statement.Key{}, false
	}
	return keys[i], true
}

// author tells whether a holder is who proposed the release, under whatever
// account.
func (l *law) author(rel *Release, holder string) bool {
	return l.accounts.one(rel.ProposedBy, holder)
}

// reviews are those that count: of this text, by others than its author.
func (l *law) reviews(rel *Release) []Review {
	return slices.DeleteFunc(slices.Clone(rel.Reviews), func(r Review) bool {
		_, known := l.person(r.Holder)
		return !known || l.author(rel, r.Holder)
	})
}

// approvals are those that count now: a good signature over exactly this text, by
// a key that has the role now, of a person whom the rule asks for, who is not the
// author, once for each person, and not too long ago.
func (l *law) approvals(rel *Release) []Approval {
	var good []Approval
	for _, a := range rel.Approvals {
		if l.approvalFault(rel, a) != nil || slices.ContainsFunc(good, func(b Approval) bool { return l.accounts.one(a.Holder, b.Holder) }) {
			continue
		}
		good = append(good, a)
	}
	return good
}

// approvalFault says why an approval does not count, or nil.
func (l *law) approvalFault(rel *Release, a Approval) error {
	k, ok := key(l.approvers, a.KeyID)
	switch {
	case !ok || k.Holder != a.Holder:
		return fault.Denied.New("key %s has not the role approver for %s in the log (clerestory key list shows what each key may do)", a.KeyID, rel.Statement.Product)
	case a.Holder == rel.ProposedBy:
		return fault.Denied.New("%s proposed it, and nobody approves their own proposal", a.Holder)
	case l.author(rel, a.Holder):
		return fault.Denied.New("%s is an account of %s, who proposed it (the log gave one key to both), and nobody approves their own proposal", a.Holder, rel.ProposedBy)
	case !statement.PublicKey(k.Public).Verify(statement.PAE(statement.PayloadType, rel.Payload), a.sig):
		return fault.Denied.New("the signature is not by key %s over this release: an approval of another text does not count", a.KeyID)
	case l.rule.Age() > 0 && l.now.Sub(a.At) > l.rule.Age():
		return fault.Stale.New("the approval by %s is older than %s", a.Holder, l.rule.MaxAge)
	}
	p, ok := l.person(a.Holder)
	if !ok {
		return fault.Denied.New("the programme in force names no person %s", a.Holder)
	}
	if !slices.ContainsFunc(l.rule.Approvals, func(q programme.Quorum) bool {
		return slices.ContainsFunc(q.Roles, func(r string) bool { return slices.Contains(p.Roles, r) })
	}) {
		return fault.Denied.New("the rule for %s %s does not ask for an approval by %s: it needs %s", rel.Statement.Product, rel.Statement.Channel, a.Holder, quorumText(l.rule.Approvals))
	}
	return nil
}

// unmet is which approvals are missing still.
func (l *law) unmet(rel *Release) []programme.Quorum {
	var people []programme.Person
	for _, a := range l.approvals(rel) {
		p, _ := l.person(a.Holder)
		people = append(people, p)
	}
	unmet := programme.Unmet(l.rule.Approvals, people)
	// Whatever a rule says, strangers ask for as many as the root of trust names.
	if n := l.trust.Root.Clerestory.Approvals - len(people); unmet == nil && n > 0 {
		unmet = []programme.Quorum{{Count: n, Roles: l.rule.Approvals[0].Roles}}
	}
	return unmet
}

// signatures are the release keys' that count now, one for each holder.
func (l *law) signatures(rel *Release) []Signing {
	var good []Signing
	for _, sig := range rel.Signings {
		k, ok := key(l.releasers, sig.KeyID)
		if !ok || !statement.PublicKey(k.Public).Verify(statement.PAE(statement.PayloadType, rel.Payload), sig.sig) {
			continue
		}
		sig.Holder = k.Holder
		if !slices.ContainsFunc(good, func(b Signing) bool { return l.accounts.one(sig.Holder, b.Holder) }) {
			good = append(good, sig)
		}
	}
	return good
}

// red are the gates that are not green.
func (l *law) red() []Gate {
	return slices.DeleteFunc(slices.Clone(l.gates), func(g Gate) bool { return g.Green })
}

// holds tells whether what a state stands for is the case.
func (l *law) holds(rel *Release, s State) bool {
	switch s {
	case Proposed:
		return true
	case Reviewed:
		return len(l.reviews(rel)) > 0
	case Tested:
		return len(l.red()) == 0
	case Approved:
		return l.unmet(rel) == nil
	case Signed:
		return len(l.signatures(rel)) >= l.rule.Signatures
	}
	return false
}

func quorumText(quorums []programme.Quorum) string {
	text := ""
	for i, q := range quorums {
		if i > 0 {
			text += " and "
		}
		text += q.String()
	}
	return text
}
