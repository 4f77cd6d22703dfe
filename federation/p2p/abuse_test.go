package p2p

import (
	"fmt"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

// One checkpoint with n cosignatures is 2ⁿ different messages, and n! times as
// many with the lines in another order.
func TestSubsetsOfSignaturesAreNotPassedOn(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(6, 1))
	n, _ := quiet(t, l)
	now := time.Now()
	n.rates.now = func() time.Time { now = now.Add(time.Minute); return now } // no pace helps
	note := fill(l, 5)
	accepted := 0
	for subset := range 64 {
		data := edit(t, note, func(n *policy.Note) {
			keep := n.Signatures[:1:1]
			for i, s := range n.Signatures[1:] {
				if subset&(1<<i) != 0 {
					keep = append([]policy.Signature{s}, keep...)
				}
			}
			n.Signatures = keep
		})
		switch v := n.judgeCheckpoint(peer.ID(fmt.Sprint("peer", subset)), data); {
		case v.word() == "accept":
			accepted++
		case v != ignore("known"):
			t.Errorf("%s: %s", v.word(), v.why)
		}
	}
	if accepted != 7 {
		t.Errorf("%d of 64 messages are passed on, want 7: one with each signature that is new", accepted)
	}
	// A new time of a cosignature is news.
	l.SetTime(time.Now().Add(-time.Minute))
	if v := n.judgeCheckpoint("other", l.Publish()); v.word() != "accept" {
		t.Errorf("%s: %s", v.word(), v.why)
	}
}

// What the node could not give to the hub is not known when it comes again.
func TestWhatFoundNoRoomIsTakenTheNextTime(t *testing.T) {
	l := logtest.New(t)
	n, _ := quiet(t, l)
	in := n.intakes[l.Origin()]
	for range maxOfOne {
		n.judgeCheckpoint("one", fill(l, int(l.Size())+1))
	}
	note := fill(l, int(l.Size())+1)
	n.judgeCheckpoint("one", note) // there is no room
	for in.next() != nil {
	}
	if v := n.judgeCheckpoint("one", note); v.word() != "accept" || in.next() == nil {
		t.Errorf("%s: %s", v.word(), v.why)
	}
}

func TestOnePeerDoesNotTakeAllRoomAtTheHub(t *testing.T) {
	in := newIntake()
	for range 2 * maxIntake {
		in.put(&candidate{owner: "flooder"})
		in.put(&candidate{owner: "flooder", stale: true})
	}
	if !in.put(&candidate{owner: "honest"}) || !in.put(&candidate{owner: "honest", stale: true}) {
		t.Error("there is no room for an honest peer")
	}
}

func TestOfAConvictedLogNothingIsPassedOn(t *testing.T) {
	l := logtest.New(t)
	n, hub := quiet(t, l)
	if v := n.judgeEvidence("someone", proofOf(t, l, 0)); v.word() != "accept" || !hub.Convicted(l.Origin()) {
		t.Fatal(v)
	}
	if v := n.judgeCheckpoint("someone", fill(l, 3)); v != ignore("convicted") {
		t.Errorf("%s: %s", v.word(), v.why)
	}
	if n.intakes[l.Origin()].next() == nil {
		t.Error("the hub does not see it: its witnesses may be guilty too")
	}
}

// A peer that asks, and is as slow as it can be, leaves room for others.
func TestOnePeerDoesNotTakeAllAnswers(t *testing.T) {
	n, _ := quiet(t, logtest.New(t))
	for range 3 * maxServing {
		n.beginServing("slow")
	}
	if !n.beginServing("honest") {
		t.Fatal("an honest peer is not answered")
	}
	for range maxServingOne {
		n.endServing("slow")
	}
	n.endServing("honest")
	if len(n.served) > 0 || len(n.serving) > 0 {
		t.Errorf("%v, %d places are not given back", n.served, len(n.serving))
	}
}

// A peer that connects again and again, and never answers, is asked once at a time.
func TestOnePeerIsAskedOnceAtATime(t *testing.T) {
	a := newAsks()
	for range 100 {
		a.add("slow")
	}
	a.add("honest")
	if id := <-a.next; id != "slow" || !a.begin(id) {
		t.Fatal(id)
	}
	for range 100 {
		a.add("slow")
	}
	if id := <-a.next; id != "honest" || !a.begin(id) {
		t.Fatalf("%s comes before an honest peer", id)
	}
	if a.begin("slow") {
		t.Error("a peer is asked twice at a time")
	}
	a.end("honest")
	a.end("slow")
	if id := <-a.next; id != "slow" || !a.begin(id) {
		t.Error("what came while it was asked is forgotten")
	}
	a.end("slow")
	if len(a.next) > 0 || len(a.waiting) > 0 || len(a.busy) > 0 {
		t.Error("something stays behind")
	}
}

// GossipSub's control messages have a pace as well: they are read in the same
// goroutine as everybody's.
func TestControlMessagesHaveAPace(t *testing.T) {
	n, _ := quiet(t, logtest.New(t))
	rpc := &pubsub.RPC{RPC: pb.RPC{Control: &pb.ControlMessage{Graft: []*pb.ControlGraft{{}}}}}
	refused := 0
	for range 3000 {
		if n.inspect("flooder", rpc) != nil {
			refused++
		}
	}
	if refused < 900 {
		t.Errorf("%d of 3000 are refused", refused)
	}
	if n.inspect("honest", rpc) != nil {
		t.Error("an honest peer is refused")
	}
	big := &pubsub.RPC{RPC: pb.RPC{Control: &pb.ControlMessage{Ihave: []*pb.ControlIHave{{MessageIDs: []string{string(make([]byte, 180<<10))}}}}}}
	refused = 0
	for range 100 {
		if n.inspect("large", big) != nil {
			refused++
		}
	}
	if refused < 40 {
		t.Errorf("%d of 100 large ones are refused", refused)
	}
}

// With many peers and many logs there are more buckets than are kept.
func TestBucketsThatAreFullMakeRoom(t *testing.T) {
	now := time.Now()
	r := newRates(func() time.Time { return now })
	for i := range maxBuckets {
		r.allow(paceCheckpoint, bucketName{"someone", "checkpoint", fmt.Sprint(i)}, 1)
	}
	if r.allow(paceCheckpoint, bucketName{"late", "checkpoint", ""}, 1) {
		t.Error("there is no bound")
	}
	now = now.Add(time.Minute)
	if !r.allow(paceCheckpoint, bucketName{"late", "checkpoint", ""}, 1) {
		t.Error("whoever comes late is surplus for ever")
	}
}

// An answer has the latest and the best checkpoint of a log and no more.
func TestAnswersAreBoundedForEachLog(t *testing.T) {
	l := logtest.New(t)
	n, _ := quiet(t, l)
	of := make(map[string]int)
	for i := range 3 {
		err := n.receive("liar", fill(l, i+1), of)
		if (err != nil) != (i == 2) {
			t.Errorf("checkpoint %d: %v", i+1, err)
		}
	}
}
