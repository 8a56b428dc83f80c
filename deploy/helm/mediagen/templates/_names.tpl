{{/* Names and labels. Every template below takes the root context, or a dict with `root` and `component`. */}}

{{- define "mediagen.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* Room is left for the longest name of a StatefulSet, `-object-storage`, within 52: its pods' label adds a hash, within 63. */}}
{{- define "mediagen.fullname" -}}
{{- $name := include "mediagen.name" . -}}
{{- $default := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $default | trunc 37 | trimSuffix "-" -}}
{{- end }}

{{- define "mediagen.componentName" -}}
{{ include "mediagen.fullname" .root }}-{{ .component }}
{{- end }}

{{/* What never changes in the life of a release. */}}
{{- define "mediagen.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mediagen.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "mediagen.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "mediagen.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: mediagen
{{- with .root.Values.global.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Of pods: nothing that another version of the chart changes, as it would replace them all. */}}
{{- define "mediagen.podLabels" -}}
{{ include "mediagen.selectorLabels" . }}
app.kubernetes.io/part-of: mediagen
{{- with .root.Values.global.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Name, namespace and labels of a resource: dict root, component, and `suffix` or `name` where it is not the component's. */}}
{{- define "mediagen.metadata" -}}
name: {{ .name | default (printf "%s%s" (include "mediagen.componentName" .) (.suffix | default "")) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "mediagen.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "mediagen.serviceAccountName" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- $account.name | default ($account.create | ternary (include "mediagen.componentName" .) "default") -}}
{{- end }}

{{/* dict root, image. Own images have the chart's appVersion as their tag. */}}
{{- define "mediagen.image" -}}
{{- $image := .image -}}
{{- $registry := .root.Values.global.imageRegistry | default $image.registry -}}
{{- $tag := $image.tag | default .root.Chart.AppVersion -}}
{{- with $registry }}{{ . }}/{{ end }}{{ $image.repository }}:{{ $tag }}{{ with $image.digest }}@{{ . }}{{ end -}}
{{- end }}

{{- define "mediagen.pullSecrets" -}}
{{- with .Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* How Services of this release begin, after their type. */}}
{{- define "mediagen.ipFamilies" -}}
{{- with .Values.global.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- end }}
