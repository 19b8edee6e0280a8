package zipkin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func pushed(t *testing.T, status int) (got []map[string]any, err error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if kind := request.Header.Get("Content-Type"); request.Method != http.MethodPost || kind != "application/json" {
			t.Errorf("%s of %s", request.Method, kind)
		}
		if err := json.NewDecoder(request.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		answer.WriteHeader(status)
	}))
	defer server.Close()
	config := defaults().(*Config)
	config.Endpoint, config.Compression = server.URL+"/api/v2/spans", ""
	to := &sender{config: config, telemetry: componenttest.NewNopTelemetrySettings()}
	if err := to.start(context.Background(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	traces := ptrace.NewTraces()
	resource := traces.ResourceSpans().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", "gateway")
	span := resource.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetTraceID(pcommon.TraceID{0: 1, 15: 2})
	span.SetSpanID(pcommon.SpanID{7: 3})
	span.SetName("GET llm")
	span.SetKind(ptrace.SpanKindServer)
	err = to.push(context.Background(), traces)
	return got, err
}

func TestSpansArriveAsZipkinReadsThem(t *testing.T) {
	got, err := pushed(t, http.StatusAccepted)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0]["traceId"] != "01000000000000000000000000000002" || got[0]["id"] != "0000000000000003" ||
		got[0]["kind"] != "SERVER" || got[0]["localEndpoint"].(map[string]any)["serviceName"] != "gateway" {
		t.Fatalf("%v", got)
	}
}

func TestARefusalForGoodIsNotTriedAgain(t *testing.T) {
	if _, err := pushed(t, http.StatusBadRequest); !consumererror.IsPermanent(err) {
		t.Fatalf("%v", err)
	}
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		if _, err := pushed(t, status); err == nil || consumererror.IsPermanent(err) {
			t.Fatalf("%d: %v", status, err)
		}
	}
}
