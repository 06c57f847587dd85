/**
 * Lists the codes of COS that callers meet most (COS document 7730), with the status under which callers get them. Any
 * other code is passed on the same way. `npm run docs` prints the table to docs/errors.md.
 */
export const cosProblems = {
  InvalidArgument: {
    status: 400,
    title: 'Bad Request',
    meaning: 'COS rejects a value of the request.',
    action: 'Fix the value that `detail` names.'
  },
  InventoryFull: {
    status: 400,
    title: 'Bad Request',
    meaning: 'The bucket has 1,000 configurations already.',
    action: 'Delete a configuration first.'
  },
  TargetBucketNameInvalid: {
    status: 400,
    title: 'Bad Request',
    meaning: 'The destination bucket is not valid, or in another region.',
    action: 'Name a bucket in the region of the source.'
  },
  AccessDenied: {
    status: 403,
    title: 'Forbidden',
    meaning: 'The credentials of this service may not do this to this bucket.',
    action: 'Tell the operator.'
  },
  NoSuchBucket: {
    status: 404,
    title: 'Not Found',
    meaning: 'The bucket does not exist, or is in another region.',
    action: 'Check the name and the query parameter `region`.'
  },
  InventoryConfigurationNotFoundError: {
    status: 404,
    title: 'Not Found',
    meaning: 'The bucket has no configuration of this id.',
    action: 'Check the id, or create the configuration.'
  },
  InvalidBucketState: {
    status: 409,
    title: 'Conflict',
    meaning: 'Another change of the bucket is in progress.',
    action: 'Retry.'
  },
  DuplicateInventoryId: {
    status: 409,
    title: 'Conflict',
    meaning: 'The id of a one-time job was used within a day, or a configuration has it.',
    action: 'Use another id. After a retry, the first request may have started the job.'
  },
  SlowDown: {
    status: 503,
    title: 'Service Unavailable',
    meaning: 'COS throttles; Retry-After says when to retry.',
    action: 'Retry after `Retry-After` seconds.'
  }
} as const
