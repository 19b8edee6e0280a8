package tailsampling

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func spans(number byte, failed bool) ptrace.Traces {
	traces := ptrace.NewTraces()
	span := traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetTraceID(pcommon.TraceID{15: number, 9: number})
	if failed {
		span.Status().SetCode(ptrace.StatusCodeError)
	}
	return traces
}

func sampling(t *testing.T, share float64, most int) (*sampler, *consumertest.TracesSink) {
	t.Helper()
	sink := new(consumertest.TracesSink)
	config := &Config{DecisionWait: time.Hour, NumTraces: most, Policies: []Policy{
		{Name: "errors", Type: "status_code", StatusCode: StatusCode{[]string{"ERROR"}}},
		{Name: "share", Type: "probabilistic", Probabilistic: Probabilistic{share}},
	}}
	if err := config.Validate(); err != nil {
		t.Fatal(err)
	}
	made, err := newSampler(componenttest.NewNopTelemetrySettings(), config, sink)
	if err != nil {
		t.Fatal(err)
	}
	return made, sink
}

func send(t *testing.T, to *sampler, batches ...ptrace.Traces) {
	t.Helper()
	for _, batch := range batches {
		if err := to.ConsumeTraces(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTracesWithAnErrorAreKeptWhole(t *testing.T) {
	s, sink := sampling(t, 0, 100)
	send(t, s, spans(1, false), spans(2, false), spans(1, true))
	if sink.SpanCount() != 0 {
		t.Fatal("a trace was passed on before it was complete")
	}
	if err := s.decide(context.Background(), time.Now()); err != nil {
		t.Fatal(err)
	}
	// Of the first trace both, of the second none.
	if sink.SpanCount() != 2 {
		t.Fatalf("%d spans are kept", sink.SpanCount())
	}
	// What comes late goes where its trace went; an error is always told.
	send(t, s, spans(1, false), spans(2, false))
	if sink.SpanCount() != 3 {
		t.Fatalf("%d spans are kept after late ones", sink.SpanCount())
	}
	send(t, s, spans(2, true))
	if sink.SpanCount() != 4 {
		t.Fatal("a late error is lost")
	}
}

func TestAShareOfTheOthersIsKept(t *testing.T) {
	s, sink := sampling(t, 50, 1000)
	for number := range 200 {
		send(t, s, spans(byte(number), false))
	}
	if err := s.decide(context.Background(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if kept := sink.SpanCount(); kept < 60 || kept > 140 {
		t.Fatalf("%d of 200 are kept", kept)
	}
}

func TestNoMoreWaitThanMay(t *testing.T) {
	s, sink := sampling(t, 100, 3)
	for number := range 10 {
		send(t, s, spans(byte(number), false))
	}
	// Nothing has waited long enough; what is too much goes on all the same.
	if err := s.decide(context.Background(), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if sink.SpanCount() != 7 || len(s.traces) != 6 {
		t.Fatalf("%d are passed on, %d known", sink.SpanCount(), len(s.traces))
	}
}

func TestAPolicyThatIsNotKnownIsRefused(t *testing.T) {
	config := defaults().(*Config)
	config.Policies = []Policy{{Name: "slow", Type: "latency"}}
	if config.Validate() == nil {
		t.Fatal("it would be skipped")
	}
}
