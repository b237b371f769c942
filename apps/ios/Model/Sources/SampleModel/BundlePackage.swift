// What the app calls SampleModel.
@_exported import QuickstartModel
