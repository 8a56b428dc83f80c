{{/* The services' settings, as environment variables. Secrets are named, never copied. */}}

{{/* dict name, secret, key */}}
{{- define "mediagen.fromSecret" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end }}

{{/* What `config` of a component holds: `maxBodyBytes: 1048576` is GATEWAY_MAX_BODY_BYTES="1048576", a list has commas between. */}}
{{- define "mediagen.config" -}}
{{- $component := index .root.Values .component }}
{{- $config := merge (deepCopy $component.config) (dict "logLevel" .root.Values.global.logLevel) }}
{{- range $key, $value := omit $config "outputHosts" }}
- name: {{ printf "%s_%s" $.component (snakecase $key) | upper }}
  value: {{ include "mediagen.settingValue" $value | quote }}
{{- end }}
{{- end }}

{{/* Numbers as JSON has them: Go would print a million as 1e+06. */}}
{{- define "mediagen.settingValue" -}}
{{- if kindIs "slice" . }}{{ join "," . }}{{ else if kindIs "string" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end }}

{{- define "mediagen.generatedSecret" -}}
{{ include "mediagen.fullname" . }}-generated
{{- end }}

{{- define "mediagen.workerToken.env" -}}
{{- $token := .root.Values.workerToken -}}
{{- $generated := include "mediagen.generatedSecret" .root -}}
{{- include "mediagen.fromSecret" (dict "name" (printf "%s_WORKER_TOKEN" (upper .component)) "secret" ($token.existingSecret | default $generated) "key" (empty $token.existingSecret | ternary "worker-token" $token.secretKey)) }}
{{- end }}

{{- define "mediagen.postgresql.env" -}}
{{- $embedded := .Values.postgresql.embedded -}}
{{- $external := .Values.postgresql.external -}}
{{- if $embedded.enabled }}
{{- include "mediagen.fromSecret" (dict "name" "JOBS_DATABASE_PASSWORD" "secret" ($embedded.existingSecret | default (include "mediagen.generatedSecret" .)) "key" (empty $embedded.existingSecret | ternary "postgresql-password" $embedded.secretKey)) }}
- name: JOBS_DATABASE_URL
  value: postgresql://mediagen@{{ include "mediagen.fullname" . }}-postgresql:5432/mediagen
{{- else if $external.secretKeys.uri }}
{{- include "mediagen.fromSecret" (dict "name" "JOBS_DATABASE_URL" "secret" $external.existingSecret "key" $external.secretKeys.uri) }}
{{- else }}
{{- include "mediagen.fromSecret" (dict "name" "JOBS_DATABASE_PASSWORD" "secret" $external.existingSecret "key" $external.secretKeys.password) }}
{{- $user := $external.username }}
{{- with $external.secretKeys.username }}
{{- $user = "$(POSTGRESQL_USERNAME)" }}
{{ include "mediagen.fromSecret" (dict "name" "POSTGRESQL_USERNAME" "secret" $external.existingSecret "key" .) }}
{{- end }}
- name: JOBS_DATABASE_URL
  value: postgresql://{{ $user }}@{{ $external.host }}:{{ $external.port }}/{{ $external.database }}
{{- end }}
{{- if not $embedded.enabled }}
- name: PGSSLMODE
  value: {{ $external.sslMode }}
{{- /* Where there is a file, `require` checks the server's certificate too, so the system's is for who asked for the check alone. */}}
{{- $file := hasPrefix "verify-" $external.sslMode | ternary "/etc/ssl/certs/ca-certificates.crt" "" }}
{{- if $external.caSecret }}
{{- $file = printf "/etc/mediagen/postgresql-ca/%s" $external.caKey }}
{{- else if eq (include "mediagen.hasCustomCA" .) "true" }}
{{- $file = printf "/etc/mediagen/ca/%s" .Values.customCA.key }}
{{- end }}
{{- with $file }}
- name: PGSSLROOTCERT
  value: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "mediagen.rabbitmq.port" -}}
{{- $external := .Values.rabbitmq.external -}}
{{- $external.port | default ($external.tls | ternary 5671 5672) -}}
{{- end }}

{{/* dict root, component */}}
{{- define "mediagen.rabbitmq.env" -}}
{{- $embedded := .root.Values.rabbitmq.embedded -}}
{{- $external := .root.Values.rabbitmq.external -}}
{{- $prefix := upper .component -}}
{{- if $embedded.enabled }}
{{- include "mediagen.fromSecret" (dict "name" (printf "%s_AMQP_PASSWORD" $prefix) "secret" ($embedded.existingSecret | default (include "mediagen.generatedSecret" .root)) "key" (empty $embedded.existingSecret | ternary "rabbitmq-password" $embedded.secretKey)) }}
- name: {{ $prefix }}_AMQP_URL
  value: amqp://mediagen@{{ include "mediagen.fullname" .root }}-rabbitmq:5672/mediagen
{{- else if $external.secretKeys.uri }}
{{- include "mediagen.fromSecret" (dict "name" (printf "%s_AMQP_URL" $prefix) "secret" $external.existingSecret "key" $external.secretKeys.uri) }}
{{- else }}
{{- include "mediagen.fromSecret" (dict "name" (printf "%s_AMQP_PASSWORD" $prefix) "secret" $external.existingSecret "key" $external.secretKeys.password) }}
{{- $user := $external.username }}
{{- with $external.secretKeys.username }}
{{- $user = "$(RABBITMQ_USERNAME)" }}
{{ include "mediagen.fromSecret" (dict "name" "RABBITMQ_USERNAME" "secret" $external.existingSecret "key" .) }}
{{- end }}
- name: {{ $prefix }}_AMQP_URL
  value: {{ $external.tls | ternary "amqps" "amqp" }}://{{ $user }}@{{ $external.host }}:{{ include "mediagen.rabbitmq.port" .root }}/{{ $external.vhost | trimPrefix "/" | urlquery }}
{{- end }}
{{- end }}

{{/* dict root, component, secret (of an external store) */}}
{{- define "mediagen.objectStorage.env" -}}
{{- $storage := .root.Values.objectStorage -}}
{{- $prefix := upper .component -}}
{{- $secret := .secret -}}
{{- $keys := $storage.external.secretKeys -}}
{{- if $storage.embedded.enabled }}
{{- $secret = $storage.embedded.existingSecret | default (include "mediagen.generatedSecret" .root) }}
{{- $keys = empty $storage.embedded.existingSecret | ternary (dict "accessKey" "object-storage-access-key" "secretKey" "object-storage-secret-key") $storage.embedded.secretKeys }}
{{- end -}}
- name: {{ $prefix }}_S3_ENDPOINT
  value: {{ $storage.embedded.enabled | ternary (printf "http://%s-object-storage:9000" (include "mediagen.fullname" .root)) $storage.external.endpoint }}
- name: {{ $prefix }}_S3_BUCKET
  value: {{ $storage.bucket | quote }}
- name: {{ $prefix }}_S3_REGION
  value: {{ $storage.region | quote }}
{{ include "mediagen.fromSecret" (dict "name" (printf "%s_S3_ACCESS_KEY" $prefix) "secret" $secret "key" $keys.accessKey) }}
{{ include "mediagen.fromSecret" (dict "name" (printf "%s_S3_SECRET_KEY" $prefix) "secret" $secret "key" $keys.secretKey) }}
{{- end }}

{{/* The client's side of TLS with jobs: dict root, component */}}
{{- define "mediagen.jobsClient.env" -}}
{{- if .root.Values.tls.enabled }}
- name: {{ upper .component }}_JOBS_CA_FILE
  value: /etc/mediagen/tls-client/ca.crt
{{- if .root.Values.tls.mutual }}
- name: {{ upper .component }}_JOBS_CERT_FILE
  value: /etc/mediagen/tls-client/tls.crt
- name: {{ upper .component }}_JOBS_KEY_FILE
  value: /etc/mediagen/tls-client/tls.key
{{- end }}
{{- end }}
{{- end }}

{{- define "mediagen.tracing.env" -}}
{{- with .Values.tracing }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
{{- if and (hasPrefix "https://" .endpoint) (eq (include "mediagen.hasCustomCA" $) "true") }}
{{- /* The exporter trusts certifi's authorities, or those of this file: it does not look at SSL_CERT_FILE. */}}
- name: OTEL_EXPORTER_OTLP_CERTIFICATE
  value: /etc/mediagen/ca/{{ $.Values.customCA.key }}
{{- end }}
- name: OTEL_TRACES_SAMPLER
  value: {{ .sampler | quote }}
{{- with .samplerArg }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "mediagen.hasCustomCA" -}}
{{ or (not (empty .Values.customCA.configMap)) (not (empty .Values.customCA.secret)) }}
{{- end }}

{{/* OpenSSL reads this file beside the system's folder of certificates. */}}
{{- define "mediagen.customCA.env" -}}
{{- if eq (include "mediagen.hasCustomCA" .) "true" }}
- name: SSL_CERT_FILE
  value: /etc/mediagen/ca/{{ .Values.customCA.key }}
{{- end }}
{{- end }}
