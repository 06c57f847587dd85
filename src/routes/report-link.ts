/** The members of a destination that say where reports are. */
interface Destination {
  /** `qcs::cos:<region>::<BucketName-APPID>`. */
  Bucket: string
  Prefix?: string
}

/**
 * Returns the link to the report of a one-time job. COS does not store the job, so that the link names its destination.
 */
export function linkToReport (
  { bucket, id }: { bucket: string, id: string },
  { Bucket: resource, Prefix: prefix }: Destination,
  region: string | undefined
): string {
  const query = new URLSearchParams({
    destination: resource.slice(resource.lastIndexOf(':') + 1),
    ...prefix !== undefined && { prefix },
    ...region !== undefined && { region }
  })
  return `</buckets/${bucket}/inventories/${id}/reports/latest?${query.toString().replaceAll('+', '%20')}>; rel="related"`
}
