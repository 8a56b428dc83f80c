{{/* What all Deployments have in common: dict root, component, and as text: env, ports, args, initContainers, probePort. */}}
{{- define "mediagen.deployment" -}}
{{- $root := .root -}}
{{- $component := index $root.Values .component -}}
{{- $autoscaled := or (dig "autoscaling" "enabled" false $component) (dig "keda" "enabled" false $component) -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "mediagen.metadata" (merge (dict "annotations" $component.annotations) .) | nindent 2 }}
spec:
  {{- if and (not $autoscaled) (not (kindIs "invalid" $component.replicas)) }}
  replicas: {{ $component.replicas }}
  {{- end }}
  strategy:
    {{- /* Helm merges maps, so the default's rollingUpdate stays beside another type, which Kubernetes refuses. */}}
    {{- toYaml (eq $component.strategy.type "Recreate" | ternary (omit $component.strategy "rollingUpdate") $component.strategy) | nindent 4 }}
  selector:
    matchLabels:
      {{- include "mediagen.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "mediagen.podLabels" . | nindent 8 }}
        {{- with $component.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $component.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ include "mediagen.serviceAccountName" . }}
      automountServiceAccountToken: false
      # A Service of the release would otherwise set variables such as JOBS_PORT, which look like settings.
      enableServiceLinks: false
      {{- with include "mediagen.pullSecrets" $root | trim }}{{ nindent 6 . }}{{ end }}
      securityContext:
        {{- toYaml $component.podSecurityContext | nindent 8 }}
      terminationGracePeriodSeconds: {{ $component.terminationGracePeriodSeconds }}
      {{- if or .initContainers $component.extraInitContainers }}
      initContainers:
        # The values' come first: a native sidecar, such as a proxy of the database, then serves the chart's own.
        {{- with $component.extraInitContainers }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- with .initContainers }}
        {{- . | nindent 8 }}
        {{- end }}
      {{- end }}
      containers:
        - name: {{ .component }}
          {{- include "mediagen.container" . | nindent 10 }}
          {{- with .args }}
          args: {{ . }}
          {{- end }}
          ports:
            {{- .ports | nindent 12 }}
          resources:
            {{- toYaml $component.resources | nindent 12 }}
          {{- with $component.probes.startup }}
          startupProbe:
            httpGet: {path: /livez, port: {{ $.probePort }}}
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with $component.probes.liveness }}
          livenessProbe:
            httpGet: {path: /livez, port: {{ $.probePort }}}
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with $component.probes.readiness }}
          readinessProbe:
            httpGet: {path: /readyz, port: {{ $.probePort }}}
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with $component.preStopSleepSeconds }}
          lifecycle:
            preStop:
              sleep: {seconds: {{ . }}}
          {{- end }}
        {{- with $component.extraContainers }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      volumes:
        {{- include "mediagen.volumes" . | nindent 8 }}
      {{- with include "mediagen.scheduling" . | trim }}{{ nindent 6 . }}{{ end }}
{{- end }}

{{/* Image, environment and mounts: of a component's container and of init containers and Jobs that run the same image. */}}
{{- define "mediagen.container" -}}
{{- $component := index .root.Values .component -}}
image: {{ include "mediagen.image" (dict "root" .root "image" $component.image) }}
imagePullPolicy: {{ $component.image.pullPolicy }}
securityContext:
  {{- toYaml $component.securityContext | nindent 2 }}
env:
  {{- /* A variable that is there twice is refused by a server-side apply, so what `extraEnv` names replaces the chart's. */}}
  {{- $replaced := list }}
  {{- range $component.extraEnv }}{{ $replaced = append $replaced .name }}{{ end }}
  {{- $variables := list }}
  {{- range printf "%s\n%s" (trim .env) (include "mediagen.customCA.env" .root | trim) | fromYamlArray }}
  {{- if not (has .name $replaced) }}{{ $variables = append $variables . }}{{ end }}
  {{- end }}
  {{- concat $variables ($component.extraEnv | default list) | toYaml | nindent 2 }}
{{- with $component.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- if eq (include "mediagen.hasCustomCA" .root) "true" }}
  - {name: ca, mountPath: /etc/mediagen/ca, readOnly: true}
  {{- end }}
  {{- if and (eq .component "jobs") .root.Values.postgresql.external.caSecret }}
  - {name: postgresql-ca, mountPath: /etc/mediagen/postgresql-ca, readOnly: true}
  {{- end }}
  {{- if and .root.Values.tls.enabled (eq .component "jobs") }}
  - {name: tls, mountPath: /etc/mediagen/tls, readOnly: true}
  {{- end }}
  {{- if and .root.Values.tls.enabled (has .component (list "gateway" "generator")) }}
  - {name: tls-client, mountPath: /etc/mediagen/tls-client, readOnly: true}
  {{- end }}
  {{- with $component.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "mediagen.volumes" -}}
{{- $values := .root.Values -}}
{{- $component := index $values .component -}}
- name: tmp
  emptyDir: {{ with $component.tmpSizeLimit }}{sizeLimit: {{ . }}}{{ else }}{}{{ end }}
{{- if eq (include "mediagen.hasCustomCA" .root) "true" }}
- name: ca
  {{- if $values.customCA.configMap }}
  configMap: {name: {{ $values.customCA.configMap }}}
  {{- else }}
  secret: {secretName: {{ $values.customCA.secret }}}
  {{- end }}
{{- end }}
{{- if and (eq .component "jobs") $values.postgresql.external.caSecret }}
- name: postgresql-ca
  secret: {secretName: {{ $values.postgresql.external.caSecret }}}
{{- end }}
{{- if and $values.tls.enabled (eq .component "jobs") }}
- name: tls
  secret: {secretName: {{ $values.tls.secretName }}}
{{- end }}
{{- if and $values.tls.enabled (has .component (list "gateway" "generator")) }}
- name: tls-client
  secret:
    {{- if $values.tls.mutual }}
    secretName: {{ $values.tls.clientSecretName | default $values.tls.secretName }}
    {{- else }}
    secretName: {{ $values.tls.secretName }}
    items: [{key: ca.crt, path: ca.crt}]
    {{- end }}
{{- end }}
{{- with $component.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* On which nodes pods may run, and how urgent they are. */}}
{{- define "mediagen.nodes" -}}
{{- $component := index .root.Values .component -}}
{{- with $component.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $component.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $component.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
The same for pods that run once, by the values of a component: the migration, the test. They do not keep away from the component's pods,
as those wait for the migration, on the last node that is free.
*/}}
{{- define "mediagen.placement" -}}
{{- include "mediagen.nodes" . }}
{{- with (index .root.Values .component).affinity.nodeAffinity }}
affinity:
  nodeAffinity:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{- define "mediagen.scheduling" -}}
{{- $component := index .root.Values .component -}}
{{- include "mediagen.nodes" . }}
{{- with $component.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if kindIs "invalid" $component.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "mediagen.selectorLabels" $ | nindent 8 }}
  {{- end }}
{{- else if $component.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml $component.topologySpreadConstraints | nindent 2 }}
{{- end }}
{{- end }}
