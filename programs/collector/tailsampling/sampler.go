package tailsampling

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/batchpersignal"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

type trace struct {
	spans   ptrace.Traces
	decided bool
	keep    bool
}

type arrival struct {
	id pcommon.TraceID
	at time.Time
}

type sampler struct {
	config *Config
	next   consumer.Traces
	count  metric.Int64Counter

	lock   sync.Mutex
	traces map[pcommon.TraceID]*trace
	// Those that wait, and those that are decided and remembered for spans that come late: the oldest first.
	waiting, remembered []arrival

	stop chan struct{}
	done sync.WaitGroup
}

func newSampler(telemetry component.TelemetrySettings, config *Config, next consumer.Traces) (*sampler, error) {
	count, err := telemetry.MeterProvider.Meter("tailsampling").Int64Counter(
		"otelcol_processor_tail_sampling_global_count_traces_sampled",
		metric.WithDescription("Traces that were decided on, by whether they are kept"),
		metric.WithUnit("{traces}"))
	return &sampler{
		config: config, next: next, count: count,
		traces: map[pcommon.TraceID]*trace{}, stop: make(chan struct{}),
	}, err
}

func (*sampler) Capabilities() consumer.Capabilities { return consumer.Capabilities{MutatesData: true} }

func (s *sampler) Start(context.Context, component.Host) error {
	s.done.Go(func() {
		tick := time.NewTicker(min(time.Second, s.config.DecisionWait))
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				// Whoever is next keeps a queue of its own and tells of what it lost.
				_ = s.decide(context.Background(), now.Add(-s.config.DecisionWait))
			case <-s.stop:
				return
			}
		}
	})
	return nil
}

// Shutdown decides on every trace, complete or not.
func (s *sampler) Shutdown(ctx context.Context) error {
	close(s.stop)
	s.done.Wait()
	return s.decide(ctx, time.Now())
}

func (s *sampler) ConsumeTraces(ctx context.Context, batch ptrace.Traces) error {
	late := s.take(batch, time.Now())
	if late.SpanCount() == 0 {
		return nil
	}
	return s.next.ConsumeTraces(ctx, late)
}

// take lets spans wait with their trace, and returns those whose trace is already kept.
func (s *sampler) take(batch ptrace.Traces, now time.Time) ptrace.Traces {
	late := ptrace.NewTraces()
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, part := range batchpersignal.SplitTraces(batch) {
		id := part.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).TraceID()
		known, found := s.traces[id]
		switch {
		case !found:
			s.traces[id] = &trace{spans: part}
			s.waiting = append(s.waiting, arrival{id, now})
		case !known.decided:
			part.ResourceSpans().MoveAndAppendTo(known.spans.ResourceSpans())
		case known.keep || failed(part):
			part.ResourceSpans().MoveAndAppendTo(late.ResourceSpans())
		}
	}
	return late
}

// decide passes on those traces that have waited since `before`, or that are too many, and are to be kept.
func (s *sampler) decide(ctx context.Context, before time.Time) (err error) {
	for {
		kept, more := s.one(before)
		if !more {
			return err
		}
		if kept.SpanCount() > 0 {
			err = errors.Join(err, s.next.ConsumeTraces(ctx, kept))
		}
	}
}

func (s *sampler) one(before time.Time) (ptrace.Traces, bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if len(s.waiting) == 0 || (s.waiting[0].at.After(before) && len(s.waiting) <= s.config.NumTraces) {
		return ptrace.Traces{}, false
	}
	first := s.waiting[0]
	s.waiting = s.waiting[1:]
	s.remembered = append(s.remembered, first)
	if len(s.remembered) > s.config.NumTraces {
		delete(s.traces, s.remembered[0].id)
		s.remembered = s.remembered[1:]
	}
	known := s.traces[first.id]
	spans := known.spans
	known.spans, known.decided, known.keep = ptrace.Traces{}, true, s.wanted(first.id, spans)
	s.count.Add(context.Background(), 1, metric.WithAttributes(attribute.Bool("sampled", known.keep)))
	if !known.keep {
		return ptrace.NewTraces(), true
	}
	return spans, true
}

func (s *sampler) wanted(id pcommon.TraceID, spans ptrace.Traces) bool {
	for _, policy := range s.config.Policies {
		if policy.Type == "status_code" && failed(spans) {
			return true
		}
		if policy.Type == "probabilistic" && chosen(id, policy.Probabilistic.SamplingPercentage) {
			return true
		}
	}
	return false
}

// The last 56 bits of a trace's number are random (W3C Trace Context, level 2).
const random = 1 << 56

func chosen(id pcommon.TraceID, percentage float64) bool {
	return float64(binary.BigEndian.Uint64(id[8:])%random) < percentage/100*random
}

func failed(spans ptrace.Traces) bool {
	for _, resource := range spans.ResourceSpans().All() {
		for _, scope := range resource.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				if span.Status().Code() == ptrace.StatusCodeError {
					return true
				}
			}
		}
	}
	return false
}
